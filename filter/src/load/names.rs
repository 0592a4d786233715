//! The names of metrics that say something of an endpoint's load. The table is explained in [`super`].

/// What a metric measures, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// The share of time in which a GPU's engines were active.
    GpuEngine,
    /// A GPU's utilisation, a fraction.
    Gpu,
    /// A GPU's utilisation, a percentage.
    GpuPercent,
    /// ORCA's `application_utilization`: a fraction of a limit that may be passed.
    Application,
    /// The part of the KV cache that is in use, a fraction.
    KvCache,
    /// Requests that wait.
    Waiting,
    /// Requests in the batch.
    Running,
}

/// What the metric `name` measures, if we know it.
pub(super) fn quantity(name: &[u8]) -> Option<Quantity> {
    let mut known = NAMES.iter();
    known.find_map(|(known, quantity)| (*known == name).then_some(*quantity))
}

/// A table and not a `match`, which becomes five kilobytes of comparisons.
const NAMES: [(&[u8], Quantity); 30] = [
    (b"vllm:kv_cache_usage_perc", Quantity::KvCache),
    (b"vllm:gpu_cache_usage_perc", Quantity::KvCache),
    (b"vllm:num_requests_waiting", Quantity::Waiting),
    (b"vllm:num_requests_running", Quantity::Running),
    (b"sglang:token_usage", Quantity::KvCache),
    (b"sglang:num_queue_reqs", Quantity::Waiting),
    (b"sglang:num_running_reqs", Quantity::Running),
    (b"llamacpp:kv_cache_usage_ratio", Quantity::KvCache),
    (b"llamacpp:requests_deferred", Quantity::Waiting),
    (b"llamacpp:requests_processing", Quantity::Running),
    (b"tgi_queue_size", Quantity::Waiting),
    (b"tgi_batch_current_size", Quantity::Running),
    (b"nv_gpu_utilization", Quantity::Gpu),
    (b"nv_inference_pending_request_count", Quantity::Waiting),
    (b"trtllm_kv_cache_utilization", Quantity::KvCache),
    (b"trtllm_num_requests_waiting", Quantity::Waiting),
    (b"trtllm_num_requests_running", Quantity::Running),
    (b"DCGM_FI_PROF_GR_ENGINE_ACTIVE", Quantity::GpuEngine),
    (b"DCGM_FI_DEV_GPU_UTIL", Quantity::GpuPercent),
    (b"gpu", Quantity::Gpu),
    (b"gpu_util", Quantity::Gpu),
    (b"gpu_utilization", Quantity::Gpu),
    (b"gpu_percent", Quantity::GpuPercent),
    (b"gpu_utilization_percent", Quantity::GpuPercent),
    (b"kv_cache", Quantity::KvCache),
    (b"kv_cache_usage_perc", Quantity::KvCache),
    (b"kv_cache_utilization", Quantity::KvCache),
    (b"token_usage", Quantity::KvCache),
    (b"num_requests_waiting", Quantity::Waiting),
    (b"num_requests_running", Quantity::Running),
];

/// Whether it is for the labels to say what a series of the metric `name` measures.
pub(super) fn is_labelled(name: &[u8]) -> bool {
    name == KV_CACHE_BLOCKS || name == REQUESTS
}

/// What a series of the metric `name` measures whose labels are asked by `has`, if [`is_labelled`].
pub(super) fn labelled(name: &[u8], has: impl Fn(&[u8]) -> bool) -> Option<Quantity> {
    if name == KV_CACHE_BLOCKS {
        has(b"kv_cache_block_type=\"fraction\"").then_some(Quantity::KvCache)
    } else if name == REQUESTS && has(b"request_type=\"waiting\"") {
        Some(Quantity::Waiting)
    } else if name == REQUESTS && has(b"request_type=\"scheduled\"") {
        Some(Quantity::Running)
    } else {
        None
    }
}

const KV_CACHE_BLOCKS: &[u8] = b"nv_trt_llm_kv_cache_block_metrics";
const REQUESTS: &[u8] = b"nv_trt_llm_request_metrics";
