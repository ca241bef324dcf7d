//! What a callback comes to: a reason to look, or, signed by fal.ai for our account, the id of a call
//! whose answer was lost.

use std::time::Duration;

use entities::Timestamp;
use http::{HeaderMap, StatusCode};

use super::{FalProvider, errors, keys::Doubt, wire::Report};
use crate::providers::{Accepted, Call, Callback};

impl FalProvider {
    pub(super) async fn heard(
        &self,
        call: &Call,
        accepted: Option<&Accepted>,
        headers: &HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
    ) -> Callback {
        match (self.signed(headers, body, arrived_at).await, accepted) {
            (Ok(report), Some(known)) if report.names(&known.request_id) => Callback::WakeUp,
            (Ok(report), Some(known)) => {
                // Would mean that one attempt was accepted twice.
                tracing::error!(
                    attempt = %call.attempt_id, known = known.request_id,
                    reported = report.request_id, "fal.ai reports another request of this attempt"
                );
                Callback::Ignored("it is about another request".to_owned())
            }
            (Ok(report), None) => self.bind(call, report.request_id).await,
            (Err(Doubt::Wrong(why)), _) => Callback::Ignored(why.to_owned()),
            // To look costs nothing and believes nothing.
            (Err(Doubt::NoKeys(_) | Doubt::NoAccount), Some(_)) => Callback::WakeUp,
            (Err(Doubt::NoKeys(why)), None) => Callback::Later(why),
            (Err(Doubt::NoAccount), None) => Callback::Ignored(
                "our account is not known (setting providers.fal_user_id)".to_owned(),
            ),
        }
    }

    /// Which request a callback is about, and whether fal.ai has signed it.
    async fn signed(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        arrived_at: Timestamp,
    ) -> Result<Report, Doubt> {
        let keys = self.keys.as_ref().ok_or(Doubt::NoAccount)?;
        let signed = keys.verify(headers, body, arrived_at, (self.clock)()).await?;
        let report: Report =
            serde_json::from_slice(body).map_err(|_| Doubt::Wrong("its body names no request"))?;
        if report.names(signed) {
            Ok(report)
        } else {
            Err(Doubt::Wrong("it names another request"))
        }
    }

    /// What a signed callback about a call whose answer was lost comes to. The signature says that
    /// the callback is fal.ai's; only fal.ai itself says whether there is such a request. One that
    /// it does not know would be looked at in vain until the job's deadline.
    async fn bind(&self, call: &Call, request_id: String) -> Callback {
        let links = match self.endpoint(call).and_then(|place| place.built(&request_id)) {
            Ok(links) => links,
            Err(refusal) => return Callback::Ignored(refusal.to_string()),
        };
        let look = self.client.get(links.status.clone()).query(&[("logs", "0")]);
        match self.ask(look).await {
            Ok(answer) if answer.status.is_success() => Callback::Bound(Accepted {
                poll_after: Duration::ZERO,
                ..self.accepted(links, request_id)
            }),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                Callback::Ignored("fal.ai knows no such request".to_owned())
            }
            Ok(answer) => Callback::Later(errors::at_look(&answer).to_string()),
            Err(refusal) => Callback::Later(refusal.to_string()),
        }
    }
}
