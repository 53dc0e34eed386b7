//! Text that is never shown.

use std::fmt;

/// A password, token or key: the one type for all of them.
///
/// It can be read by [`expose`](Self::expose) alone. `Debug` shows `***`, and there is no `Display`, so that it gets into
/// no log, error or configuration that is printed.
///
/// ```
/// use ooblex_core::Secret;
///
/// let token = Secret::new("correct horse");
/// assert_eq!(format!("{token:?}"), "***");
/// assert_eq!(token.hide_in("the service refused correct horse"), "the service refused ***");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What stands in place of a secret.
    pub const HIDDEN: &str = "***";

    /// Takes a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without this secret, which others may have repeated in it. An empty secret hides nothing.
    pub fn hide_in(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, Self::HIDDEN) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_nowhere_and_hidden_where_others_repeat_it() {
        let secret = Secret::new("swordfish");
        assert_eq!(format!("{secret:?} {:?} {:#?}", Some(&secret), secret), "*** Some(***) ***");
        assert_eq!(secret.expose(), "swordfish");
        assert_eq!(secret.hide_in("swordfish, swordfish"), "***, ***");
        assert_eq!(Secret::new("").hide_in("abc"), "abc");
    }
}
