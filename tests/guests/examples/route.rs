//! Holds a request until its body is complete, then names a cluster and a list of endpoints in its headers,
//! and reads nothing: the least that a module does which places requests. What it costs is the way's own.
//!
//! Written on the bare ABI, so that a host calls it for nothing else. Its configuration is the cluster's name,
//! a space, and the list.

#![allow(missing_docs, reason = "a wasm module has no readers of its API")]

#[cfg(target_arch = "wasm32")]
mod guest {
    use std::sync::OnceLock;

    const CONTINUE: u32 = 0;
    const PAUSE: u32 = 1;
    const REQUEST_HEADERS: u32 = 0;
    const PLUGIN_CONFIGURATION: u32 = 7;

    static CLUSTER_AND_LIST: OnceLock<String> = OnceLock::new();

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            size: usize,
            data: *mut *mut u8,
            length: *mut usize,
        ) -> u32;
        fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    #[unsafe(no_mangle)]
    extern "C" fn _initialize() {}

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        Vec::<u8>::with_capacity(size).leak().as_mut_ptr()
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(_root: u32, size: usize) -> u32 {
        let (mut data, mut length) = (std::ptr::null_mut(), 0);
        // SAFETY: the host writes both places, or answers with a status other than 0.
        let status = unsafe {
            proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &mut data, &mut length)
        };
        if status != 0 {
            return 0;
        }
        // SAFETY: the host took these bytes from `proxy_on_memory_allocate` and filled them.
        let bytes = unsafe { std::slice::from_raw_parts(data, length) };
        let text = String::from_utf8_lossy(bytes).into_owned();
        // The same again, if a host configures twice.
        let _ = CLUSTER_AND_LIST.set(text);
        1
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(_id: u32, _count: u32, _end: u32) -> u32 {
        PAUSE
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_body(_id: u32, _size: usize, end: u32) -> u32 {
        if end == 0 {
            return PAUSE;
        }
        let text = CLUSTER_AND_LIST
            .get()
            .map(String::as_str)
            .unwrap_or_default();
        let (cluster, list) = text.split_once(' ').unwrap_or_default();
        set("x-junheng-cluster", cluster);
        set("x-gateway-destination-endpoint", list);
        CONTINUE
    }

    fn set(name: &str, value: &str) {
        // SAFETY: the host reads both texts and keeps nothing of them.
        let status = unsafe {
            proxy_replace_header_map_value(
                REQUEST_HEADERS,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        };
        assert_eq!(status, 0, "a held request has headers");
    }
}
