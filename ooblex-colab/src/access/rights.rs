//! What there is to be allowed.

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Nothing in particular.
    Public,
    /// Watch streams and read their state.
    View,
    /// Send pictures.
    Publish,
    /// Change effects.
    Control,
}

impl Right {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::View => "view",
            Self::Publish => "publish",
            Self::Control => "control",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Public => 1,
            Self::View => 2,
            Self::Publish => 4,
            Self::Control => 8,
        }
    }
}

/// A set of rights; always has [`Right::Public`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    /// Everything.
    pub(crate) const ALL: Self = Self(15);

    pub(crate) fn of(rights: &[Right]) -> Self {
        Self(rights.iter().fold(Right::Public.bit(), |bits, right| bits | right.bit()))
    }

    /// With `right`, if `also`.
    pub(crate) fn and(self, right: Right, also: bool) -> Self {
        if also { Self(self.0 | right.bit()) } else { self }
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Of these, `right` alone.
    pub(crate) fn only(self, right: Right) -> Self {
        Self(self.0 & (right.bit() | Right::Public.bit()))
    }

    /// Whether `other` is a part of these.
    pub(crate) fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn allow(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}
