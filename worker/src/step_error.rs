//! How a function says that it failed, and whether trying again can help.

use std::any::type_name;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use everstep_common::limits::ERROR_NAME_CHARS_MAX;

/// A function's failure.
///
/// Every error converts into a retryable one, so `?` works in functions; what no retry can mend is said with [`StepError::fatal`].
/// It is no [`Error`] itself, for otherwise that conversion could not exist.
///
/// ```
/// use everstep_worker::StepError;
///
/// fn amount(text: &str) -> Result<u32, StepError> {
///     let amount: u32 = text.parse()?;
///     if amount == 0 {
///         return Err(StepError::fatal("nothing to charge"));
///     }
///     Ok(amount)
/// }
/// assert!(amount("x").unwrap_err().is_retryable());
/// assert!(!amount("0").unwrap_err().is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError {
    kind: StepErrorKind,
    message: String,
    name: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
}

/// Whether trying again can help.
///
/// ```
/// use everstep_worker::{StepError, StepErrorKind};
///
/// assert_eq!(StepError::retryable("busy").kind(), StepErrorKind::Retryable);
/// assert_eq!(StepError::fatal("no such card").kind(), StepErrorKind::Fatal);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepErrorKind {
    /// It may: the step's retry policy decides.
    Retryable,
    /// It cannot: the step fails at once.
    Fatal,
    /// It cannot, for what was given or returned is not what it must be; the step fails at once.
    Invalid,
}

impl StepError {
    /// A failure that may go away: a text, or an error, whose sources are told too.
    ///
    /// ```
    /// use everstep_worker::StepError;
    ///
    /// let error = StepError::retryable("the warehouse is busy");
    /// assert!(error.is_retryable());
    /// ```
    pub fn retryable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StepErrorKind::Retryable, error)
    }

    /// A failure that no retry can mend.
    ///
    /// ```
    /// use everstep_worker::StepError;
    ///
    /// fn stock(article: &str) -> Result<u32, StepError> {
    ///     match article {
    ///         "hat" => Ok(3),
    ///         _ => Err(StepError::fatal(format!("there is no article {article:?}"))),
    ///     }
    /// }
    /// assert!(!stock("coat").unwrap_err().is_retryable());
    /// ```
    pub fn fatal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StepErrorKind::Fatal, error)
    }

    /// A value that is not what it must be: of another type, over a limit, impossible to encode.
    ///
    /// ```
    /// use everstep_worker::{StepError, StepErrorKind};
    ///
    /// let error = StepError::invalid("the picture is no PNG");
    /// assert_eq!(error.kind(), StepErrorKind::Invalid);
    /// ```
    pub fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StepErrorKind::Invalid, error)
    }

    /// With a wish for the delay before the next attempt, such as an HTTP `Retry-After`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everstep_worker::StepError;
    ///
    /// let error = StepError::retryable("429 Too Many Requests").retry_after(Duration::from_secs(30));
    /// assert_eq!(error.delay(), Some(Duration::from_secs(30)));
    /// ```
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        Self {
            retry_after: Some(delay),
            ..self
        }
    }

    /// Calls the error by a name, by which a retry policy can tell it from others: `retries(never("CardDeclined"))`.
    ///
    /// An error that became one by `?` is called by its type already. Cut to 128 characters.
    ///
    /// ```
    /// # use everstep_worker::StepError;
    /// let declined = StepError::retryable("no funds").named("CardDeclined");
    /// assert_eq!(declined.name(), Some("CardDeclined"));
    /// let odd: StepError = "x".parse::<u32>().unwrap_err().into();
    /// assert_eq!(odd.name(), Some("ParseIntError"));
    /// ```
    #[must_use]
    pub fn named(self, name: impl AsRef<str>) -> Self {
        let name: String = name.as_ref().chars().take(ERROR_NAME_CHARS_MAX).collect();
        Self {
            name: Some(Cow::Owned(name)),
            ..self
        }
    }

    /// What it is called, if anything.
    ///
    /// ```
    /// use everstep_worker::StepError;
    ///
    /// assert_eq!(StepError::retryable("no funds").name(), None, "a text is called nothing");
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What was said.
    ///
    /// ```
    /// use everstep_worker::StepError;
    ///
    /// let odd: StepError = "x".parse::<u32>().unwrap_err().into();
    /// assert_eq!(odd.message(), "invalid digit found in string");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether trying again can help, and if not why.
    ///
    /// ```
    /// use everstep_worker::{StepError, StepErrorKind};
    ///
    /// let counted = |error: &StepError| matches!(error.kind(), StepErrorKind::Fatal | StepErrorKind::Invalid);
    /// assert!(counted(&StepError::fatal("no such card")) && !counted(&StepError::retryable("busy")));
    /// ```
    pub fn kind(&self) -> StepErrorKind {
        self.kind
    }

    /// Whether trying again can help.
    ///
    /// ```
    /// use everstep_worker::StepError;
    ///
    /// assert!(StepError::retryable("busy").is_retryable() && !StepError::fatal("gone").is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        self.kind == StepErrorKind::Retryable
    }

    /// The wish for the delay before the next attempt.
    ///
    /// ```
    /// use everstep_worker::StepError;
    ///
    /// assert_eq!(StepError::retryable("busy").delay(), None, "the retry policy decides");
    /// ```
    pub fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn into_parts(self) -> (String, Option<String>) {
        (self.message, self.name.map(Cow::into_owned))
    }

    fn new(kind: StepErrorKind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            message: chain(error.into().as_ref()),
            name: None,
            retry_after: None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self {
            name: Some(Cow::Borrowed(type_name_of::<E>())),
            ..Self::retryable(error)
        }
    }
}

/// What a type is called, without its path and parameters.
fn type_name_of<E>() -> &'static str {
    let path = type_name::<E>();
    let path = path.split_once('<').map_or(path, |(path, _)| path);
    path.rsplit("::").next().unwrap_or(path)
}

/// For what takes any error, such as a workflow that calls a function in place. Only the message is left of it.
impl From<StepError> for Box<dyn Error + Send + Sync> {
    fn from(error: StepError) -> Self {
        error.message.into()
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The error and its sources in one line; a source that the error has printed already is not told twice.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("charging the card")]
    struct Charging(#[source] std::io::Error);

    #[test]
    fn any_error_is_retryable_and_tells_its_sources() {
        let attempt = || -> Result<(), StepError> { Err(Charging(std::io::Error::other("connection reset")))? };
        let error = attempt().unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (StepErrorKind::Retryable, "charging the card: connection reset")
        );
    }

    #[test]
    fn texts_and_errors_make_any_kind() {
        assert_eq!(StepError::fatal("no such card").kind(), StepErrorKind::Fatal);
        assert_eq!(StepError::invalid(format!("{} bytes", 3)).message(), "3 bytes");
        assert_eq!(
            StepError::retryable("busy").retry_after(Duration::from_secs(9)).delay(),
            Some(Duration::from_secs(9))
        );
    }
}
