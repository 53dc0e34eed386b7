//! The kinds of tokens.

use super::rights::{Right, Rights};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Control,
    Publish,
    View,
    /// The one in links for viewers.
    Link,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Control, Self::Publish, Self::View, Self::Link];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Publish => "publish",
            Self::View => "view",
            Self::Link => "link",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self.index()
    }
}

/// What every kind gives. Changing effects is for whoever shows the strongest token that there is, so it depends on
/// which of publish, view and control there are.
pub(super) fn gives(publish: bool, control: bool) -> [Rights; 4] {
    let of_publish = Rights::of(&[Right::Publish]).and(Right::Control, !control);
    let of_view = Rights::of(&[Right::View]).and(Right::Control, !control && !publish);
    [Rights::ALL, of_publish, of_view, Rights::of(&[Right::View])]
}
