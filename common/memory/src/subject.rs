//! Subjects as the server compares them: tokens between dots, `*` for one token, `>` for one or more at the end.
//!
//! Knows nothing of streams; [`crate::model`] and the core subscriptions of [`crate::server`] are built on it.

/// Whether `subject` (taken literally) is one of those that `filter` names.
pub(crate) fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (literal, Some(token)) if literal == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether some subject is named by both filters.
pub(crate) fn overlap(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
            _ => return false,
        }
    }
}

/// Whether something can be published here: no empty token, no white space, no wildcard.
pub(crate) fn is_literal(subject: &str) -> bool {
    is_filter(subject) && subject.split('.').all(|token| token != "*" && token != ">")
}

/// Whether something can be listened to here: no empty token, no white space, `>` only at the end.
pub(crate) fn is_filter(subject: &str) -> bool {
    let tokens: Vec<&str> = subject.split('.').collect();
    let last = tokens.len() - 1;
    tokens
        .iter()
        .enumerate()
        .all(|(index, token)| !token.is_empty() && !token.contains([' ', '\t', '\r', '\n']) && (*token != ">" || index == last))
}

/// The subject under which a message is republished: `{{wildcard(n)}}` in `destination` stands for what the n-th wildcard of
/// `source` met in `subject`, and a `>` at its end for what the `>` of `source` met.
pub(crate) fn destination(source: &str, destination: &str, subject: &str) -> Option<String> {
    if !matches(source, subject) {
        return None;
    }
    let tokens: Vec<&str> = subject.split('.').collect();
    let mut wildcards = Vec::new();
    let mut rest = None;
    for (index, wanted) in source.split('.').enumerate() {
        match wanted {
            "*" => wildcards.push(tokens[index]),
            ">" => rest = Some(tokens[index..].join(".")),
            _ => {}
        }
    }
    let mut result = destination.to_owned();
    for (index, token) in wildcards.iter().enumerate() {
        result = result.replace(&format!("{{{{wildcard({})}}}}", index + 1), token);
    }
    match (result.strip_suffix('>'), rest) {
        (Some(start), Some(rest)) => Some(format!("{start}{rest}")),
        _ => Some(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_tokens() {
        let cases = [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
            ("*.b.>", "a.b.c", true),
            ("a.b", "a.bc", false),
        ];
        for (filter, subject, expected) in cases {
            assert_eq!(matches(filter, subject), expected, "{filter} and {subject}");
        }
    }

    #[test]
    fn filters_overlap_if_one_subject_fits_both() {
        let cases = [
            ("a.*", "*.b", true),
            ("a.b", "a.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*", "a.b.c", false),
        ];
        for (left, right, expected) in cases {
            assert_eq!(overlap(left, right), expected, "{left} and {right}");
            assert_eq!(overlap(right, left), expected, "{right} and {left}");
        }
    }

    #[test]
    fn republished_subjects_take_their_tokens_from_the_wildcards() {
        let cases = [
            (
                "$KV.cp_0.*.end",
                "done.0.{{wildcard(1)}}",
                "$KV.cp_0.r1.end",
                Some("done.0.r1"),
            ),
            ("a.*.*", "b.{{wildcard(2)}}.{{wildcard(1)}}", "a.x.y", Some("b.y.x")),
            ("a.>", "b.>", "a.x.y", Some("b.x.y")),
            ("a.*.end", "b", "a.x.start", None),
        ];
        for (source, target, subject, expected) in cases {
            assert_eq!(destination(source, target, subject).as_deref(), expected, "{subject}");
        }
    }
}
