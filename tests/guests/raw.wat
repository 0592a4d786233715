;; A module by hand, with no SDK under it: it adds `x-raw: wat` to each request, answers what it finds in `x-echo`
;; of each response, and gives out memory that it never takes back.
(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 1024))
  (data (i32.const 0) "x-raw")
  (data (i32.const 16) "wat")
  (data (i32.const 32) "x-echo")
  (data (i32.const 48) "x-echoed")

  (func (export "proxy_abi_version_0_2_0"))

  (func (export "malloc") (param $size i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get $size))))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 3)))

  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    ;; The address is written at 64, the length at 68.
    (if (i32.eqz (call $get (i32.const 2) (i32.const 32) (i32.const 6) (i32.const 64) (i32.const 68)))
      (then
        (drop (call $add
          (i32.const 2) (i32.const 48) (i32.const 8) (i32.load (i32.const 64)) (i32.load (i32.const 68))))))
    (i32.const 0)))
