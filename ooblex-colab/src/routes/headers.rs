//! What every answer says to browsers about how it may be used.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Who may show a page in a frame: notebooks, Colab's and those on this machine.
macro_rules! frames {
    () => {
        "frame-ancestors 'self' http://localhost:* http://127.0.0.1:* https://colab.research.google.com \
         https://*.googleusercontent.com https://*.colab.dev"
    };
}

/// Of the pages: everything comes from this server.
pub(super) const PAGE: &str = concat!(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; ",
    frames!()
);

/// Of what is no page: nothing may be loaded by it.
const OTHER: &str = concat!("default-src 'none'; base-uri 'none'; form-action 'none'; ", frames!());

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Adds them. `secure` says that the browser's connection is encrypted: elsewhere it ignores, with a complaint, that
/// other windows shall have no hold of this one.
pub(super) fn decorate(secure: bool, response: &mut HeaderMap) {
    let policy = HeaderValue::from_static(OTHER);
    response.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    response.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if secure {
        response.insert(OPENER, HeaderValue::from_static("same-origin"));
    }
}
