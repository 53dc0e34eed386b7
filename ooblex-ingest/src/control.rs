//! What publishers may ask for beside publishing: an effect, and whether it is applied.

use async_trait::async_trait;
use ooblex_core::StreamId;
use ooblex_http::Problem;
use serde_json::{Map, Value};

/// What a stream's effect is from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The chain, as the server writes it.
    pub effect: String,
    /// Its number: higher for what was chosen later.
    pub generation: u64,
}

/// Changes a stream's effect on behalf of its publisher. Implemented by whoever knows which effects there are.
///
/// A chain is effects joined by `|`, `+` or a blank, as in `blur|sepia`. None of the methods needs the stream to be
/// live: what is chosen for a name holds for the stream that begins under it later.
///
/// ```
/// use async_trait::async_trait;
/// use ooblex_core::StreamId;
/// use ooblex_http::Problem;
/// use ooblex_ingest::control::{Chosen, StreamControl};
/// use serde_json::{Map, Value};
///
/// /// Knows one effect, and applies it elsewhere.
/// struct Sepia;
///
/// #[async_trait]
/// impl StreamControl for Sepia {
///     async fn check(&self, chain: &str) -> Result<(), Problem> {
///         let unknown = || Problem::new(404, "unknown_effect", format!("unknown effect {chain:?}; known: sepia"));
///         if chain == "sepia" { Ok(()) } else { Err(unknown().known(["sepia".to_owned()])) }
///     }
///     async fn set_effect(
///         &self,
///         _stream: &StreamId,
///         chain: &str,
///         _params: Map<String, Value>,
///     ) -> Result<Chosen, Problem> {
///         self.check(chain).await?;
///         Ok(Chosen { effect: chain.to_owned(), generation: 1 })
///     }
///     async fn enable(&self, _stream: &StreamId, _enabled: bool) -> Result<(), Problem> {
///         Ok(())
///     }
/// }
/// # let control: Box<dyn StreamControl> = Box::new(Sepia);
/// # drop(control);
/// ```
#[async_trait]
pub trait StreamControl: Send + Sync + 'static {
    /// Whether `chain` could be chosen. Changes nothing: asked before a session begins, so that a refused offer
    /// leaves nothing behind and a stranger's stream alone.
    ///
    /// # Errors
    /// A [`Problem`]: 404 with the list of known effects, 422 for a chain that cannot be.
    async fn check(&self, chain: &str) -> Result<(), Problem>;

    /// Chooses the effect chain of a stream, now or when it begins. Names are checked before anything starts. `params`
    /// has an object of parameters for each effect that is not to have its own defaults.
    ///
    /// # Errors
    /// As for [`check`](Self::check), 400 or 422 for parameters that cannot be, and 503 if the chain cannot be made
    /// ready; the stream keeps what it had.
    async fn set_effect(
        &self,
        stream: &StreamId,
        chain: &str,
        params: Map<String, Value>,
    ) -> Result<Chosen, Problem>;

    /// Switches the chosen effect off, or on again. Streams begin with it on.
    ///
    /// # Errors
    /// A [`Problem`]; nothing was changed then.
    async fn enable(&self, stream: &StreamId, enabled: bool) -> Result<(), Problem>;
}

/// For servers without effects: every name but `none` is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoControl;

#[async_trait]
impl StreamControl for NoControl {
    async fn check(&self, chain: &str) -> Result<(), Problem> {
        if chain == "none" {
            return Ok(());
        }
        let shown: String = chain.chars().take(64).collect();
        Err(Problem::new(404, "unknown_effect", format!("unknown effect {shown:?}; this server has none"))
            .field("effect")
            .value(shown)
            .known(["none".to_owned()]))
    }

    async fn set_effect(
        &self,
        _stream: &StreamId,
        chain: &str,
        _params: Map<String, Value>,
    ) -> Result<Chosen, Problem> {
        self.check(chain).await?;
        Ok(Chosen { effect: chain.to_owned(), generation: 0 })
    }

    async fn enable(&self, _stream: &StreamId, _enabled: bool) -> Result<(), Problem> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_effects_every_name_but_none_is_unknown() {
        assert!(NoControl.check("none").await.is_ok());
        let long = "x".repeat(10_000);
        let problem =
            NoControl.set_effect(&StreamId::default(), &long, Map::new()).await.expect_err("unknown");
        assert_eq!((problem.status().as_u16(), problem.code()), (404, "unknown_effect"));
        assert!(problem.to_json().len() < 500, "a long name is not repeated in full");
    }
}
