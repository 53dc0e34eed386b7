//! Why a socket is closed.

/// RFC 6455 section 7.4.1, and the registry of close codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The stream or the client has ended.
    Normal,
    /// A header, flag or order that the protocol does not have.
    Protocol,
    /// A kind of picture that was not agreed on.
    Kind,
    /// A text message that cannot be read.
    Text,
    /// A right is missing.
    Policy,
    /// A message is too large.
    Size,
    /// The server failed.
    Failed,
    /// The server ends.
    Restart,
    /// A limit is reached.
    TryLater,
}

impl CloseCode {
    /// The number.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::Kind => 1003,
            Self::Text => 1007,
            Self::Policy => 1008,
            Self::Size => 1009,
            Self::Failed => 1011,
            Self::Restart => 1012,
            Self::TryLater => 1013,
        }
    }
}

/// A close as the other side gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: CloseCode,
    /// A sentence that says what to do.
    reason: String,
}

impl Close {
    /// Bytes that a reason may have (RFC 6455 section 5.5.1).
    pub const MAX_REASON: usize = 123;

    /// A close with a reason, which is cut if it is too long.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(Self::MAX_REASON));
        Self { code, reason }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_and_stay_text() {
        let long = format!("x{}", "ä".repeat(100));
        let close = Close::new(CloseCode::Protocol, &long);
        assert_eq!((close.code.number(), close.reason().len()), (1002, 123));
        assert!(long.starts_with(close.reason()));
        assert_eq!(Close::new(CloseCode::Normal, "x".repeat(122) + "ä").reason().len(), 122);
    }
}
