use std::thread;

use proptest::prelude::*;

use super::*;

#[test]
fn latest_wins_keeps_the_newest() {
    let (tx, rx) = queue(QueuePolicy::LatestWins);
    assert_eq!(tx.try_send(1), Sent::Queued);
    assert_eq!(tx.try_send(2), Sent::Displaced(1));
    assert_eq!(tx.try_send(3), Sent::Displaced(2));
    assert_eq!(rx.try_recv(), Some(3));
    assert_eq!(rx.try_recv(), None);
    assert_eq!(tx.counts(), QueueCounts { sent: 3, delivered: 1, dropped: 2, waiting: 0 });
}

#[test]
fn drop_oldest_and_drop_newest_differ() {
    let (tx, rx) = queue(QueuePolicy::DropOldest(2));
    for n in 1..=4 {
        let _ = tx.try_send(n);
    }
    assert_eq!((rx.try_recv(), rx.try_recv()), (Some(3), Some(4)));
    let (tx, rx) = queue(QueuePolicy::DropNewest(2));
    let sent: Vec<_> = (1..=4).map(|n| tx.try_send(n)).collect();
    assert_eq!(sent[3], Sent::Rejected(4));
    assert_eq!((rx.try_recv(), rx.try_recv(), rx.try_recv()), (Some(1), Some(2), None));
}

#[test]
fn a_blocked_thread_sender_goes_on_when_there_is_room() {
    let (tx, rx) = queue(QueuePolicy::Block(1));
    assert_eq!(tx.try_send(1), Sent::Queued);
    assert_eq!(tx.try_send(9), Sent::Rejected(9));
    let sender = thread::spawn(move || (2..200).for_each(|n| assert_eq!(tx.send_blocking(n), Sent::Queued)));
    let got: Vec<i32> = std::iter::from_fn(|| rx.recv_blocking()).collect();
    sender.join().expect("sender");
    assert_eq!(got, (1..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_blocked_task_sender_goes_on_when_there_is_room() {
    let (tx, mut rx) = queue(QueuePolicy::Block(2));
    let sender = tokio::spawn(async move {
        for n in 0..500 {
            assert_eq!(tx.send(n).await, Sent::Queued);
        }
    });
    for n in 0..500 {
        assert_eq!(rx.recv().await, Some(n));
    }
    assert_eq!(rx.recv().await, None);
    sender.await.expect("sender");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_feeds_a_task() {
    let (tx, mut rx) = queue(QueuePolicy::Block(3));
    let sender =
        thread::spawn(move || (0..2_000).for_each(|n| assert_eq!(tx.send_blocking(n), Sent::Queued)));
    for n in 0..2_000 {
        assert_eq!(rx.recv().await, Some(n));
    }
    assert_eq!(rx.recv().await, None);
    sender.join().expect("sender");
}

#[test]
fn the_end_reaches_the_receiver_after_what_waits() {
    let (tx, rx) = queue(QueuePolicy::DropOldest(3));
    let other = tx.clone();
    let _ = tx.try_send(1);
    drop(tx);
    assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(Some(1)));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(TimedOut));
    let _ = other.try_send(2);
    other.close();
    assert_eq!(other.try_send(3), Sent::Closed(3));
    assert_eq!((rx.recv_blocking(), rx.recv_blocking()), (Some(2), None));
}

#[test]
fn a_gone_receiver_counts_what_it_left() {
    let (tx, rx) = queue(QueuePolicy::DropOldest(3));
    let _ = tx.try_send(1);
    let _ = tx.try_send(2);
    drop(rx);
    assert!(tx.is_closed());
    assert_eq!(tx.try_send(3), Sent::Closed(3));
    assert_eq!(tx.counts(), QueueCounts { sent: 2, delivered: 0, dropped: 2, waiting: 0 });
}

#[test]
fn a_waiting_thread_wakes_at_the_close() {
    let (tx, rx) = queue::<u8>(QueuePolicy::LatestWins);
    let receiver = thread::spawn(move || rx.recv_blocking());
    tx.close();
    assert_eq!(receiver.join().expect("receiver"), None);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send,
    Receive,
    Close,
}

fn policies() -> impl Strategy<Value = QueuePolicy> {
    prop_oneof![
        Just(QueuePolicy::LatestWins),
        (0usize..5).prop_map(QueuePolicy::DropOldest),
        (0usize..5).prop_map(QueuePolicy::DropNewest),
        (0usize..5).prop_map(QueuePolicy::Block),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![6 => Just(Step::Send), 5 => Just(Step::Receive), 1 => Just(Step::Close)];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Order is kept, sent = delivered + dropped + waiting, and never more than the capacity waits.
    #[test]
    fn nothing_is_lost_or_reordered(policy in policies(), steps in steps()) {
        let (tx, rx) = queue(policy);
        let (mut next, mut last) = (0u64, None);
        let mut delivered = 0;
        for step in steps {
            match step {
                Step::Send => {
                    let _ = tx.try_send(next);
                    next += 1;
                }
                Step::Receive => {
                    if let Some(item) = rx.try_recv() {
                        prop_assert!(last.is_none_or(|l| item > l));
                        if policy == QueuePolicy::LatestWins && !tx.is_closed() {
                            prop_assert_eq!(item, next - 1, "the newest, never an older one");
                        }
                        last = Some(item);
                        delivered += 1;
                    }
                }
                Step::Close => tx.close(),
            }
            let counts = tx.counts();
            prop_assert_eq!(counts.sent, counts.delivered + counts.dropped + counts.waiting);
            prop_assert_eq!(counts.delivered, delivered);
            prop_assert!(counts.waiting as usize <= policy.capacity());
        }
    }
}
