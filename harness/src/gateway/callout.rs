//! HTTP calls that the guest makes for itself: to a cluster, with its answer read whole.
//!
//! A call belongs to the VM, not to a stream: it is answered even when the stream that wanted it is
//! gone. Failures arrive as Envoy delivers them: 503 where no connection was made or it broke, 504
//! after the timeout.

use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;

use super::feed::Feed;
use super::retry::{Policy, RetryOn};
use super::worker::Worker;
use super::{fields, flow, upstream};
use crate::host::{GrpcRequest, Headers, HttpCall};

/// Makes `call` for the VM `generation` and hands the answer back, unless that VM is gone.
pub async fn perform(worker: Rc<Worker>, generation: u64, call: HttpCall) {
    let (token, timeout) = (call.token, call.timeout);
    let answering = answer(&worker, call);
    let answered = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, answering)
            .await
            .unwrap_or_else(|_| failed("504", "upstream request timeout")),
        None => answering.await,
    };
    if worker.runs(generation) {
        let (headers, body, trailers) = answered;
        let _ = worker.call(|vm| vm.http_call_response(token, headers, body.into(), trailers));
    }
}

/// Answers a gRPC request that no endpoint here can speak: nothing that a guest waits for stays open.
pub async fn decline(worker: Rc<Worker>, generation: u64, request: GrpcRequest) {
    const UNAVAILABLE: u32 = 14;
    if let GrpcRequest::Call { token, .. } | GrpcRequest::Open { token, .. } = request
        && worker.runs(generation)
    {
        let _ = worker
            .call(|vm| vm.grpc_close(token, UNAVAILABLE, "this gateway speaks HTTP/1.1 upstream"));
    }
}

type Answer = (Headers, Bytes, Headers);

async fn answer(worker: &Worker, call: HttpCall) -> Answer {
    let options = &worker.shared.options;
    let Some(endpoints) = options.clusters.get(&call.upstream) else {
        return failed("503", "no healthy upstream");
    };
    let mut headers = call.headers;
    headers.replace("content-length", call.body.len().to_string());
    let feed = Feed::new(usize::MAX);
    feed.write(call.body.into());
    feed.finish((!call.trailers.is_empty()).then(|| fields::to_map(&call.trailers)));
    // A call has no route whose policy it could have; its own headers may order one.
    let policy = Policy::new(RetryOn::default(), 1);
    let outcome = upstream::exchange_with(
        worker,
        &call.upstream,
        endpoints,
        &headers,
        &feed,
        policy,
        &|_| (),
    )
    .await;
    let (response, lease) = match outcome {
        Ok(response) => response,
        Err(refusal) => return failed(refusal.status.as_str(), &refusal.text),
    };
    let (head, body) = response.into_parts();
    match flow::whole(body, options.body_limit).await {
        Some((body, trailers)) => {
            lease.give_back();
            (
                fields::of_response(&head),
                body,
                fields::of_trailers(&trailers),
            )
        }
        None => failed(
            "503",
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        ),
    }
}

fn failed(status: &str, text: &str) -> Answer {
    let headers = Headers::from([(":status", status), ("content-type", "text/plain")]);
    (
        headers,
        Bytes::copy_from_slice(text.as_bytes()),
        fields::of_trailers(&HeaderMap::new()),
    )
}
