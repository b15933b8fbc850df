//! What a workflow's body may not name: whatever would go another way when the workflow is replayed.
//!
//! Reads tokens, not types: it sees `tokio::select!` and cannot see a helper that calls it. For those there is
//! `clippy-for-workflows.toml`. What stands in the parentheses of `.run(…)` is exempt: a closure is recorded, not replayed.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Paths, each with why and what to do instead.
const FORBIDDEN: &[(&[&[&str]], &str)] = &[
    (
        &[&["tokio", "select"], &["futures", "select"], &["futures_util", "select"]],
        "starts at a random branch, so a replay may take another one; use `everstep::select!` (it is in the prelude)",
    ),
    (
        &[
            &["tokio", "spawn"],
            &["tokio", "task"],
            &["task", "spawn"],
            &["task", "spawn_local"],
            &["task", "spawn_blocking"],
            &["thread", "spawn"],
            &["thread", "scope"],
        ],
        "runs code that no replay can order; await several steps with `futures::join!` or `FuturesUnordered`, or do the work in a `#[function]`",
    ),
    (
        &[&["tokio", "time"], &["thread", "sleep"]],
        "is not recorded and ends with the process; use `ctx.sleep(…)`, and `select!` with a sleep for a timeout",
    ),
    (
        &[
            &["tokio", "fs"],
            &["tokio", "net"],
            &["tokio", "process"],
            &["std", "fs"],
            &["std", "net"],
            &["std", "process"],
            &["reqwest"],
        ],
        "reaches outside, which a replay would do again; do it in a `#[function]` and `ctx.step(…)` it, or in `ctx.run(\"name\", || async { … })`",
    ),
    (
        &[&["env", "var"], &["env", "vars"], &["env", "var_os"]],
        "may differ in the process that replays; take it in the input, or read it in `ctx.run(\"name\", || async { … })`",
    ),
    (
        &[
            &["SystemTime", "now"],
            &["Instant", "now"],
            &["Timestamp", "now"],
            &["Zoned", "now"],
            &["Utc", "now"],
            &["Local", "now"],
            &["OffsetDateTime", "now_utc"],
        ],
        "is another time on replay; use `ctx.now()`",
    ),
    (
        &[&["rand"], &["fastrand"], &["getrandom"], &["thread_rng"], &["OsRng"]],
        "is another number on replay; use `ctx.random()`",
    ),
    (
        &[
            &["Uuid", "new_v4"],
            &["Uuid", "now_v7"],
            &["Uuid", "now_v1"],
            &["Uuid", "now_v6"],
        ],
        "is another id on replay; use `ctx.uuid()`",
    ),
];

/// Refuses a body that names something forbidden; says all of them at once.
pub(crate) fn check(body: TokenStream) -> syn::Result<()> {
    let mut found = None;
    look(body, &mut found);
    found.map_or(Ok(()), Err)
}

fn look(tokens: TokenStream, found: &mut Option<syn::Error>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((length, message)) = forbidden_at(&tokens[at..]) {
            add(
                found,
                syn::Error::new_spanned(tokens[at..at + length].iter().cloned().collect::<TokenStream>(), message),
            );
            at += length;
            continue;
        }
        if let TokenTree::Group(group) = &tokens[at]
            && !is_recorded(&tokens[..at], group.delimiter())
        {
            look(group.stream(), found);
        }
        at += 1;
    }
}

fn add(found: &mut Option<syn::Error>, error: syn::Error) {
    match found {
        Some(errors) => errors.combine(error),
        None => *found = Some(error),
    }
}

/// How many tokens of a forbidden path `tokens` begin with, and what is to be said about it.
fn forbidden_at(tokens: &[TokenTree]) -> Option<(usize, String)> {
    let TokenTree::Ident(_) = tokens.first()? else { return None };
    FORBIDDEN.iter().find_map(|(paths, cure)| {
        let path = paths.iter().find(|path| begins_with(tokens, path))?;
        let length = 3 * path.len() - 2;
        // A crate's name alone is a path only if something of it is named.
        let named = path.len() > 1 || path[0].chars().any(char::is_uppercase) || is_path_or_call(&tokens[length..]);
        let bang = if matches!(tokens.get(length), Some(TokenTree::Punct(punct)) if punct.as_char() == '!') {
            "!"
        } else {
            ""
        };
        named.then(|| (length, format!("`{}{bang}` {cure}", path.join("::"))))
    })
}

fn begins_with(tokens: &[TokenTree], path: &[&str]) -> bool {
    path.iter().enumerate().all(|(position, segment)| {
        let named = matches!(tokens.get(3 * position), Some(TokenTree::Ident(ident)) if ident == segment);
        named && (position == 0 || is_path_separator(&tokens[3 * position - 2..]))
    })
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(one), TokenTree::Punct(two), ..] if one.as_char() == ':' && two.as_char() == ':')
}

fn is_path_or_call(tokens: &[TokenTree]) -> bool {
    is_path_separator(tokens)
        || matches!(tokens.first(), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
}

/// Whether a group that follows `before` is what `.run(…)` is given: recorded once, and never replayed.
fn is_recorded(before: &[TokenTree], delimiter: Delimiter) -> bool {
    let [.., TokenTree::Punct(dot), TokenTree::Ident(run)] = before else {
        return false;
    };
    delimiter == Delimiter::Parenthesis && dot.as_char() == '.' && run == "run"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(body: &str) -> Vec<String> {
        let found = check(body.parse().unwrap());
        found
            .err()
            .map(|errors| errors.into_iter().map(|error| error.to_string()).collect())
            .unwrap_or_default()
    }

    #[test]
    fn what_no_replay_repeats_is_refused_with_its_cure() {
        let check = |body: &str, named: &str, cure: &str| {
            let messages = messages(body);
            assert_eq!(messages.len(), 1, "{body}: {messages:?}");
            assert!(
                messages[0].starts_with(&format!("`{named}` ")) && messages[0].contains(cure),
                "{body}: {messages:?}"
            );
        };
        check("tokio::select! { _ = a => {} }", "tokio::select!", "`everstep::select!`");
        check(
            "let x = { ::futures::select! {} };",
            "futures::select!",
            "`everstep::select!`",
        );
        check("use tokio::select;", "tokio::select", "`everstep::select!`");
        check("tokio::spawn(async {})", "tokio::spawn", "`#[function]`");
        check("join!(tokio::time::sleep(d))", "tokio::time", "`ctx.sleep(…)`");
        check("std::thread::sleep(d)", "thread::sleep", "`ctx.sleep(…)`");
        check("let t = std::time::Instant::now();", "Instant::now", "`ctx.now()`");
        check("SystemTime::now", "SystemTime::now", "`ctx.now()`");
        check("rand::random::<u8>()", "rand", "`ctx.random()`");
        check("thread_rng().next()", "thread_rng", "`ctx.random()`");
        check("Uuid::new_v4()", "Uuid::new_v4", "`ctx.uuid()`");
        check("std::fs::read(p)?", "std::fs", "`ctx.step(…)`");
    }

    #[test]
    fn all_that_is_forbidden_is_said_at_once() {
        assert_eq!(messages("let a = rand::random(); f(|| { Uuid::new_v4() })").len(), 2);
    }

    #[test]
    fn what_replays_exactly_is_left_alone() {
        for body in [
            "select! { a = x => {} }",
            "everstep::select! { a = x => {} }",
            "futures::select_biased! { a = x => {} }",
            "futures::future::select(a, b).await",
            "let rand = 3; f(rand)",
            "order.rand.spawn()",
            "ctx.sleep(Duration::from_secs(1)).await?",
            "futures::join!(a, b)",
            "\"tokio::select!\"",
        ] {
            assert_eq!(messages(body), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn a_recorded_closure_may_do_what_it_likes() {
        assert!(messages("ctx.run(\"id\", || async { Ok(Uuid::new_v4()) }).await?").is_empty());
        assert_eq!(messages("ctx.step(f, Uuid::new_v4()).await?").len(), 1);
        assert_eq!(messages("run(Uuid::new_v4())").len(), 1);
    }
}
