//! Names of servers to addresses, asked once for all sessions and waited for no longer than is useful.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long an answer is used.
const KEEP: Duration = Duration::from_secs(60);
/// How long a failure is used: short, for a network that just comes up.
const KEEP_FAILURE: Duration = Duration::from_secs(5);
/// How long anybody waits.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most names.
const MAX_NAMES: usize = 64;

type Answer = Result<Vec<IpAddr>, String>;

/// Looks names up. Cheap to clone; clones share what is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolver(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Clone, Debug)]
struct Entry {
    asked: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl Entry {
    fn is_fresh(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.asked);
        match &*self.answer.borrow() {
            // The system may take half a minute to give up; nobody asks again meanwhile.
            None => true,
            Some(Ok(_)) => age < KEEP,
            Some(Err(_)) => age < KEEP_FAILURE,
        }
    }
}

impl Resolver {
    /// The addresses of a host, at least one.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(crate) async fn lookup(&self, host: &str) -> Answer {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let mut answer = self.ask(host, Instant::now());
        let known = tokio::time::timeout(PATIENCE, answer.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err("no answer".into())),
            Ok(Err(_)) => Err("the lookup was given up".into()),
            Err(_) => Err(format!("the name server did not answer within {} ms", PATIENCE.as_millis())),
        }
    }

    /// What is known at once.
    pub(crate) fn known(&self, host: &str) -> Option<Answer> {
        if let Ok(ip) = host.parse() {
            return Some(Ok(vec![ip]));
        }
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = names.get(host).filter(|entry| entry.is_fresh(Instant::now()))?;
        entry.answer.borrow().clone()
    }

    fn ask(&self, host: &str, now: Instant) -> watch::Receiver<Option<Answer>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = names.get(host).filter(|entry| entry.is_fresh(now)) {
            return entry.answer.clone();
        }
        names.retain(|_, entry| entry.is_fresh(now));
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        let (sender, answer) = watch::channel(None);
        let name = host.to_owned();
        tokio::spawn(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map(|all| all.map(|a| a.ip()).collect::<Vec<_>>());
            let _ = sender.send(Some(match found {
                Ok(all) if all.is_empty() => Err("the name has no address".into()),
                Ok(all) => Ok(all),
                Err(e) => Err(format!("the name cannot be resolved: {e}")),
            }));
        });
        names.insert(host.to_owned(), Entry { asked: now, answer: answer.clone() });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_are_found_and_kept() {
        let resolver = Resolver::default();
        assert_eq!(resolver.lookup("192.0.2.7").await, Ok(vec!["192.0.2.7".parse().expect("address")]));
        assert_eq!(resolver.known("localhost"), None);
        let found = resolver.lookup("localhost").await.expect("localhost is in /etc/hosts");
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
        assert_eq!(resolver.known("localhost"), Some(Ok(found)));
    }

    #[tokio::test]
    async fn a_failure_is_remembered_for_a_moment_only() {
        let resolver = Resolver::default();
        let (sender, answer) = watch::channel(Some(Err::<Vec<IpAddr>, _>("no such name".to_owned())));
        let asked = Instant::now();
        let entry = Entry { asked, answer };
        assert!(
            entry.is_fresh(asked + Duration::from_secs(4)) && !entry.is_fresh(asked + Duration::from_secs(6))
        );
        let _ = sender.send(Some(Ok(Vec::new())));
        assert!(
            entry.is_fresh(asked + Duration::from_secs(59))
                && !entry.is_fresh(asked + Duration::from_secs(61))
        );
        resolver.0.lock().expect("lock").insert("turn.example".into(), entry);
        assert_eq!(resolver.known("turn.example"), Some(Ok(Vec::new())));
    }
}
