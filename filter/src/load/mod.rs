//! What endpoints report of their load, and the weight that follows from it.
//!
//! Two ways lead in. A response carries the load of the moment it was written ([`orca`], or the explicit
//! [`weight::HEADER`]); and the endpoint's metrics page tells it when asked ([`prometheus`]). Both end in
//! a [`Report`], so that neither a weight nor a status page cares which server or which format it was.
//!
//! The unit belongs to the name wherever it can: `DCGM_FI_DEV_GPU_UTIL` is a percentage however small,
//! for else an idle GPU at 1 % would be read as a full one. All other names are fractions by their
//! documentation, and only a value that no fraction can have, above 1, is read as a percentage, because
//! that is what `nvidia-smi` gives to whoever forwards it.
//!
//! Which names mean what, and by whose documentation:
//!
//! | | GPU utilisation | KV cache in use | waiting | running |
//! |---|---|---|---|---|
//! | [vLLM] | | `vllm:kv_cache_usage_perc`, before 0.10 `vllm:gpu_cache_usage_perc` (fractions) | `vllm:num_requests_waiting` | `vllm:num_requests_running` |
//! | [SGLang] | | `sglang:token_usage` | `sglang:num_queue_reqs` | `sglang:num_running_reqs` |
//! | [TGI] | | | `tgi_queue_size` | `tgi_batch_current_size` |
//! | [llama.cpp] with `--metrics` | | `llamacpp:kv_cache_usage_ratio` (fraction), in builds before [#13660] of May 2025 | `llamacpp:requests_deferred` | `llamacpp:requests_processing` |
//! | [Triton] | `nv_gpu_utilization` (fraction) | `nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}` | `nv_inference_pending_request_count`, `nv_trt_llm_request_metrics{request_type="waiting"}` | the latter with `"scheduled"` |
//! | TensorRT-LLM | | `trtllm_kv_cache_utilization` | `trtllm_num_requests_waiting` | `trtllm_num_requests_running` |
//! | [DCGM] | `DCGM_FI_PROF_GR_ENGINE_ACTIVE` (fraction), else `DCGM_FI_DEV_GPU_UTIL` (percentage) | | | |
//! | ORCA, in `utilization` or `named_metrics` | `gpu`, `gpu_utilization`, `gpu_util`, `gpu_percent`, `gpu_utilization_percent` | `kv_cache_usage_perc` (vLLM), `kv_cache_utilization` (Triton), `token_usage`, `kv_cache` | `num_requests_waiting` | `num_requests_running` |
//!
//! The rows of TensorRT-LLM and the queues' meaning are those of the [model server protocol] of the
//! Gateway API inference extension. GPU *memory* is not there on purpose: servers take nearly all of it
//! when they start, idle or not.
//!
//! [vLLM]: https://docs.vllm.ai/en/latest/usage/metrics.html
//! [SGLang]: https://docs.sglang.io/references/production_metrics.html
//! [TGI]: https://huggingface.co/docs/text-generation-inference/reference/metrics
//! [llama.cpp]: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#get-metrics-prometheus-compatible-metrics-exporter
//! [#13660]: https://github.com/ggml-org/llama.cpp/pull/13660
//! [Triton]: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
//! [DCGM]: https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv
//! [model server protocol]: https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/003-model-server-protocol

mod json;
mod names;
pub mod orca;
mod part;
pub mod prometheus;
mod report;
mod sheet;
pub mod weight;

pub use part::{Learned, Load, Part, merge};
pub use report::{Report, Share};
