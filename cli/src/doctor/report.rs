//! What the checks found.

use serde::Serialize;

use crate::arguments::Global;
use crate::output;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and someone should look at it.
    Warning,
    /// It cannot be told from here.
    Unknown,
    /// It has to be mended.
    Wrong,
}

impl Verdict {
    fn sign(self) -> &'static str {
        match self {
            Self::Ok => "✓",
            Self::Warning => "!",
            Self::Unknown => "?",
            Self::Wrong => "✗",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    pub(super) fn new(check: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            mend: None,
        }
    }

    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, found)
    }

    pub(super) fn wrong(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Wrong, found)
    }

    #[must_use]
    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

/// Prints the findings, each with how to mend it.
pub(super) fn print(global: &Global, checks: &[Check]) -> std::io::Result<()> {
    if global.json {
        return output::json_pretty(&checks);
    }
    for check in checks {
        output::line(format_args!("{} {:<13} {}", check.verdict.sign(), check.check, check.found))?;
        if let Some(mend) = &check.mend {
            output::line(format_args!("  {:<13} mend: {mend}", ""))?;
        }
    }
    Ok(())
}
