//! The register of operations at Stripe: written before they are sent, and never forgotten.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use super::subject::Subject;
use super::world::{HOUR, PRICE, Told, World, check, same, scope, tea};
use crate::error::BoxError;
use crate::fulfillment::OperationKind::{self, Capture, Refund};
use crate::fulfillment::{Inbox, InboxExt as _, OperationKey, OperationRecord, OperationState};
use crate::secret::Mode;

super::case::cases! {
    "an operation's row is read as it was written" => as_written,
    "of 20 who write an operation's row one wins each time" => one_winner,
    "an operation of another application, mode, account or kind is another one" => apart,
    "an operation is not forgotten with the events" => kept,
}

fn key(kind: OperationKind, reference: &str) -> OperationKey {
    OperationKey {
        scope: tea(),
        account: None,
        kind,
        reference: reference.to_owned(),
    }
}

fn row(result: Option<&str>) -> OperationRecord {
    OperationRecord {
        version: 0,
        attempt: 1,
        fingerprint: "a1".repeat(32),
        subject: None,
        amount: None,
        state: OperationState::Sending,
        result: result.map(str::to_owned),
        begun: UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456),
    }
}

async fn as_written<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let key = OperationKey {
        account: Some("acct_1".to_owned()),
        ..key(Refund, "№ 7/'\"\\ OR 1=1;--")
    };
    same("none", inbox.operation(&key).await?, None)?;
    check(
        !inbox.put_operation(&key, Some(1), row(None)).await?,
        "a row that is not there was replaced",
    )?;
    let full = OperationRecord {
        attempt: u32::MAX,
        subject: Some("pi_1".to_owned()),
        amount: Some(PRICE),
        state: OperationState::Done,
        result: Some("re_1".to_owned()),
        ..row(None)
    };
    let refused = OperationRecord {
        state: OperationState::Refused,
        begun: UNIX_EPOCH,
        ..row(None)
    };
    for (n, written) in (1..).zip([row(None), full, refused]) {
        let expected = Some(n - 1).filter(|version| *version > 0);
        check(
            inbox.put_operation(&key, expected, written.clone()).await?,
            "not written",
        )?;
        let read = world.open().await.operation(&key).await?;
        let written = OperationRecord {
            version: n,
            ..written
        };
        same("read", read, Some(written))?;
    }
    for stale in [None, Some(2), Some(4)] {
        check(
            !inbox.put_operation(&key, stale, row(None)).await?,
            "a stale writer won",
        )?;
    }
    let version = inbox.operation(&key).await?.map(|row| row.version);
    same("version", version, Some(3))
}

async fn one_winner<S: Subject>(world: World<S>) -> Told {
    let inboxes = [Arc::new(world.open().await), Arc::new(world.open().await)];
    for round in 0..3_u64 {
        let expected = (round > 0).then_some(round);
        let mut running = JoinSet::new();
        for (n, inbox) in inboxes.iter().cycle().take(20).enumerate() {
            let inbox = Arc::clone(inbox);
            let result = format!("re_{round}_{n}");
            running.spawn(async move {
                let key = key(Refund, "1");
                let won = inbox
                    .put_operation(&key, expected, row(Some(&result)))
                    .await?;
                Ok::<_, BoxError>(won.then_some(result))
            });
        }
        let mut winners = Vec::new();
        while let Some(ended) = running.join_next().await {
            winners.extend(ended??);
        }
        same("winners", winners.len(), 1)?;
        let stored = inboxes[0].operation(&key(Refund, "1")).await?;
        let stored = stored.ok_or("no row")?;
        same("version", stored.version, round + 1)?;
        same("its own", stored.result.as_ref(), winners.first())?;
    }
    Ok(())
}

async fn apart<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let ours = key(Refund, "1");
    let others = [
        key(Refund, "2"),
        key(Capture, "1"),
        OperationKey {
            account: Some("acct_1".to_owned()),
            ..ours.clone()
        },
        OperationKey {
            scope: scope("coffee", Mode::Test),
            ..ours.clone()
        },
        OperationKey {
            scope: scope("tea", Mode::Live),
            ..ours.clone()
        },
    ];
    for (n, other) in others.iter().enumerate() {
        let result = format!("re_{n}");
        check(
            inbox.put_operation(other, None, row(Some(&result))).await?,
            "not written",
        )?;
    }
    same("ours", inbox.operation(&ours).await?, None)?;
    check(
        inbox
            .put_operation(&ours, None, row(Some("re_ours")))
            .await?,
        "not written",
    )?;
    for (n, other) in others.iter().enumerate() {
        let found = inbox.operation(other).await?.and_then(|row| row.result);
        same("theirs", found, Some(format!("re_{n}")))?;
    }
    Ok(())
}

async fn kept<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox
        .put_operation(&key(Refund, "1"), None, row(Some("re_1")))
        .await?;
    let later = SystemTime::now() + 24 * HOUR;
    while inbox.prune(&tea(), later, 100).await? > 0 {}
    let found = inbox.operation(&key(Refund, "1")).await?;
    check(found.is_some(), "it is forgotten")
}
