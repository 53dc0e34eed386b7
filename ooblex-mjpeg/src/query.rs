//! The few parameters that viewers may give.

use std::num::NonZeroU32;

use ooblex_http::Problem;

/// Highest `fps` that can be asked for.
const MAX_FPS: u32 = 240;

/// `fps=` of a query: parts a second, 1 to 240; `None` without one. Other parameters are not looked at, since
/// pages add their own against caches.
pub(crate) fn fps(query: Option<&str>) -> Result<Option<NonZeroU32>, Problem> {
    number(query, "fps", MAX_FPS).map(|n| n.and_then(NonZeroU32::new))
}

/// `width=` of a query, 1 to 65,535; the picture's own width bounds it later.
pub(crate) fn width(query: Option<&str>) -> Result<Option<u32>, Problem> {
    number(query, "width", ooblex_core::Image::MAX_SIDE)
}

/// `advance_headers=` of a query, 0 or 1: whether the next part's headers leave with a picture.
pub(crate) fn advance_headers(query: Option<&str>) -> Result<Option<bool>, Problem> {
    match value(query, "advance_headers") {
        None => Ok(None),
        Some("0") => Ok(Some(false)),
        Some("1") => Ok(Some(true)),
        Some(other) => {
            let value: String = other.chars().take(64).collect();
            let detail = format!("advance_headers is {value}; use 0 or 1");
            Err(Problem::new(422, "out_of_range", detail).field("advance_headers").value(value).limit(1))
        }
    }
}

fn value<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn number(query: Option<&str>, name: &str, largest: u32) -> Result<Option<u32>, Problem> {
    let Some(value) = value(query, name) else { return Ok(None) };
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<u32>() {
        Ok(n) if digits && (1..=largest).contains(&n) => Ok(Some(n)),
        _ => Err(out_of_range(name, value.chars().take(64).collect::<String>(), largest)),
    }
}

/// The problem of a number that is not in its range.
pub(crate) fn out_of_range(
    name: &str,
    value: impl Into<serde_json::Value> + std::fmt::Display,
    largest: u32,
) -> Problem {
    Problem::new(422, "out_of_range", format!("{name} is {value}; use a whole number from 1 to {largest}"))
        .field(name)
        .value(value)
        .limit(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_in_range_are_found_among_other_parameters() {
        assert_eq!(fps(None), Ok(None));
        assert_eq!(fps(Some("")), Ok(None));
        assert_eq!(fps(Some("t=123&fps=15&x")), Ok(NonZeroU32::new(15)));
        assert_eq!(width(Some("width=65535")), Ok(Some(65535)));
        assert_eq!(width(Some("widths=1")), Ok(None));
    }

    #[test]
    fn everything_else_is_refused_with_the_value_and_the_limit() {
        for bad in ["", "0", "-1", "+5", "1.5", "241", "99999999999", "abc", "%31", " 1"] {
            let problem = fps(Some(&format!("fps={bad}"))).expect_err(bad);
            assert_eq!(problem.status(), 422);
            let json = problem.to_value();
            assert_eq!((json["field"].as_str(), json["value"].as_str()), (Some("fps"), Some(bad)));
            assert_eq!(json["limit"], 240);
        }
    }

    #[test]
    fn advance_headers_is_a_switch() {
        assert_eq!(advance_headers(Some("fps=3")), Ok(None));
        assert_eq!(advance_headers(Some("fps=3&advance_headers=1")), Ok(Some(true)));
        assert_eq!(advance_headers(Some("advance_headers=0")), Ok(Some(false)));
        assert_eq!(advance_headers(Some("advance_headers=yes")).expect_err("refused").status(), 422);
    }

    proptest! {
        #[test]
        fn any_query_gives_a_number_in_range_or_a_problem(query in ".{0,80}") {
            match fps(Some(&query)) {
                Ok(n) => prop_assert!(n.is_none_or(|n| n.get() <= MAX_FPS)),
                Err(problem) => prop_assert_eq!(problem.status().as_u16(), 422),
            }
        }

        #[test]
        fn any_value_is_taken_exactly_if_it_is_in_range(n in any::<u64>()) {
            let result = width(Some(&format!("a=b&width={n}")));
            prop_assert_eq!(result.is_ok(), (1..=65_535).contains(&n));
        }
    }
}
