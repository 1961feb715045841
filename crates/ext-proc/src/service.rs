//! Envoy's `ExternalProcessor`: a stream for each request.

use std::sync::Arc;

use async_trait::async_trait;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Part;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyResponse, ProcessingRequest, ProcessingResponse, TrailersResponse,
};
use pinroute_core::decision::{ReplyVerdict, Route, Verdict};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::decider::Decider;
use crate::message::{self, Message};

/// The service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Decides requests.
    pub decider: Arc<Decider>,
    /// Whether the service stops.
    pub stopped: watch::Receiver<bool>,
}

#[async_trait]
impl ExternalProcessor for Service {
    type ProcessStream = ReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (out, answers) = mpsc::channel(1);
        let Self { decider, stopped } = self.clone();
        let exchange = Exchange { decider, stopped, out, is_decided: false, sent: None };
        tokio::spawn(exchange.serve(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// One HTTP request and its response.
struct Exchange {
    decider: Arc<Decider>,
    stopped: watch::Receiver<bool>,
    out: mpsc::Sender<Result<ProcessingResponse, Status>>,
    is_decided: bool,
    /// How the request was routed, if its response matters and has not been seen.
    sent: Option<Route>,
}

impl Exchange {
    /// Until Envoy ends the stream, or the service stops.
    async fn serve(mut self, mut parts: Streaming<ProcessingRequest>) {
        loop {
            // A host may take its time. Without this stream Envoy lets its response pass as it is.
            let may_leave = self.is_decided && !self.decider.router().verifies();
            let part = tokio::select! {
                part = parts.message() => part,
                _ = self.stopped.wait_for(|stopped| *stopped), if may_leave => return,
            };
            match part {
                Ok(Some(part)) => {
                    let answer = self.answer(part).await;
                    let Some(answer) = answer else { return };
                    let answer = answer.map(|response| ProcessingResponse {
                        response: Some(response),
                        ..ProcessingResponse::default()
                    });
                    let is_over = answer.is_err();
                    if self.out.send(answer).await.is_err() || is_over {
                        return;
                    }
                }
                Ok(None) => return self.ended(),
                // Envoy ends a stream by a reset, in whichever case, and then nobody receives this. But a message that
                // cannot be read has to end in an error: without an answer, Envoy lets the request go on undecided.
                Err(status) => {
                    tracing::debug!(%status, "a stream ended");
                    self.ended();
                    drop(self.out.send(Err(status)).await);
                    return;
                }
            }
        }
    }

    /// What Envoy is asked to do; `None` if it has gone.
    async fn answer(&mut self, part: ProcessingRequest) -> Option<Result<Answer, Status>> {
        let ProcessingRequest { request, attributes, observability_mode, .. } = part;
        if observability_mode {
            return Some(Err(Status::failed_precondition(
                "in observability_mode Envoy ignores every decision",
            )));
        }
        Some(Ok(match request {
            Some(Part::RequestHeaders(headers)) => {
                let request = Message::new(headers, attributes);
                let decider = Arc::clone(&self.decider);
                let verdict = tokio::select! {
                    verdict = decider.decide(&request) => verdict,
                    () = self.out.closed() => return None,
                };
                let answer = message::verdict(decider.router(), &verdict, &request);
                self.is_decided = true;
                if let Verdict::Route(route) = verdict
                    && decider.router().needs_reply()
                {
                    self.sent = Some(route);
                }
                answer
            }
            Some(Part::ResponseHeaders(headers)) => self.on_response(&Message::new(headers, attributes)),
            // Envoy sends these only if its configuration asks for it; nothing depends on them.
            Some(Part::RequestBody(_)) => Answer::RequestBody(BodyResponse::default()),
            Some(Part::ResponseBody(_)) => Answer::ResponseBody(BodyResponse::default()),
            Some(Part::RequestTrailers(_)) => Answer::RequestTrailers(TrailersResponse::default()),
            Some(Part::ResponseTrailers(_)) => Answer::ResponseTrailers(TrailersResponse::default()),
            None => return Some(Err(Status::invalid_argument("a message without a part of a request"))),
        }))
    }

    fn on_response(&mut self, reply: &Message) -> Answer {
        let Some(route) = self.sent.take() else { return Answer::ResponseHeaders(message::nothing()) };
        self.decider.metrics().response_seen();
        if self.decider.on_reply(&route, reply) == ReplyVerdict::WrongHost {
            return message::wrong_host();
        }
        if self.decider.router().response_headers() {
            return message::shown(&route);
        }
        Answer::ResponseHeaders(message::nothing())
    }

    /// Envoy has ended the stream. If the response was not shown until then, it never is: because the client has left, or
    /// because Envoy shows none.
    fn ended(&self) {
        if self.sent.is_some() && self.decider.metrics().response_missed() {
            tracing::error!(
                "Envoy shows no responses, which `response_headers`, `verify` and `drop_on` need: \
                 set `response_header_mode: SEND` in its processing_mode"
            );
        }
    }
}
