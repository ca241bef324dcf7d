//! What people do.

use std::time::Duration;

use entities::{
    Credits,
    ids::JobId,
    job::{self, JobState, Kind, NewJob, Verdict},
    ledger,
};
use rand::RngExt as _;
use serde_json::json;

use super::{
    super::simple::{Job, ROUTES},
    Walk,
};

impl Walk {
    pub(super) async fn submit(&mut self) -> &'static str {
        let workspace = self.workspace();
        let (price, outputs) = (self.random.random_range(1..90), self.random.random_range(1..5));
        self.next_id += 1;
        let id = JobId(uuid::Uuid::from_u64_pair(self.now.0.unsigned_abs(), self.next_id.into()));
        let new = NewJob {
            id,
            workspace_id: workspace,
            api_key_id: None,
            model: "demo/sketch".into(),
            kind: Kind::Image,
            pool: ROUTES[0].into(),
            input: json!({}),
            metadata: json!({}),
            resolved: json!({}),
            credits: Credits(price),
            outputs_expected: i32::try_from(outputs).unwrap(),
            idempotency: None,
            uploads: Vec::new(),
            created_at: self.now,
            expires_at: self.now.after(Duration::from_secs(3_600)),
        };
        let verdict = self.batcher.submit(new).await.unwrap();
        let job = Job {
            workspace,
            price,
            outputs,
            state: JobState::Queued,
            route: 0,
            ready_at: self.now,
            dispatched: false,
            cancel_requested: false,
        };
        let available = self.model.wallets[&workspace].available;
        if price <= available {
            assert_eq!(verdict, Verdict::Accepted);
            self.model.submitted(id, job);
            self.watched.insert(id);
            return "submit";
        }
        assert_eq!(verdict, Verdict::Insufficient { available: Credits(available) });
        "refused submit"
    }

    pub(super) async fn grant(&mut self) -> &'static str {
        let workspace = self.workspace();
        let amount = self.random.random_range(1..150);
        let tx = self.db.begin().await.unwrap();
        ledger::grant(&tx, workspace, Credits(amount), "more", self.now).await.unwrap();
        tx.commit().await.unwrap();
        self.model.wallets.get_mut(&workspace).unwrap().available += amount;
        "grant"
    }

    pub(super) async fn cancel(&mut self) -> &'static str {
        if self.model.jobs.is_empty() {
            return "no job";
        }
        let n = self.random.random_range(0..self.model.jobs.len());
        let (id, model) = self.model.jobs.iter().nth(n).unwrap();
        let (id, model) = (*id, model.clone());
        let tx = self.db.begin().await.unwrap();
        let other = self.workspace();
        if other != model.workspace {
            assert!(job::cancel(&tx, other, id, self.now).await.unwrap().is_none());
        }
        assert!(job::cancel(&tx, model.workspace, id, self.now).await.unwrap().is_some());
        tx.commit().await.unwrap();
        match model.state {
            JobState::Queued => self.model.ended(id, JobState::Canceled, 0),
            JobState::Submitting | JobState::Uncertain | JobState::Running => {
                self.model.jobs.get_mut(&id).unwrap().cancel_requested = true;
            }
            _ => {}
        }
        "cancel"
    }
}
