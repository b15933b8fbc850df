//! Durations as people write them: `"500ms"`, `"10s"`, `"1h 30m"`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::Lit;

const UNITS: [(&str, u64); 10] = [
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
    ("days", 86_400_000),
    ("w", 604_800_000),
];

/// The duration that a literal stands for; never zero.
pub(crate) fn of(literal: &Lit) -> syn::Result<Duration> {
    let Lit::Str(text) = literal else {
        return Err(syn::Error::new(
            literal.span(),
            "a duration is written as text with its unit, such as \"10s\"",
        ));
    };
    parse(&text.value()).map_err(|reason| syn::Error::new(text.span(), reason))
}

/// The expression that makes `duration` where the macro is used.
pub(crate) fn expression(duration: Duration) -> TokenStream {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanos))
}

pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid =
        || format!("{text:?} is not a duration; write whole numbers with a unit (ms, s, m, h, d): \"500ms\", \"10s\", \"1h 30m\"");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let part = amount(number, unit).ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = after.trim_start();
    }
    if total.is_zero() {
        return Err(format!("{text:?} is no time at all; a duration here is longer than zero"));
    }
    Ok(total)
}

fn amount(number: &str, unit: &str) -> Option<Duration> {
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(*millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        let check = |text: &str, millis: u64| assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        check("500ms", 500);
        check("10s", 10_000);
        check("5 min", 300_000);
        check("1h30m", 5_400_000);
        check(" 1d 2h ", 93_600_000);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in [
            "",
            " ",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 parsecs",
            "1h 30",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains("\"10s\""), "{text:?}: {reason}");
        }
        assert!(parse("0s").unwrap_err().contains("longer than zero"));
    }
}
