;; A component of wasi:http 0.2 that answers with its version. {VERSION} is
;; replaced before use (e2e::guest), so a test makes as many versions as it likes
;; without a toolchain; {COPY} by the name of the test, so that no two tests share
;; a digest. The guest that misbehaves is in probe/.
;;
;;   /         answers with the version
;;   /env      answers with every environment variable, NAME=VALUE per line
;;   /wait     waits two seconds, then answers with the version
(component
  (@custom "version" "{VERSION}")
  (@custom "copy" "{COPY}")

  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
  ))
  (alias export $poll "pollable" (type $pollable))

  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "pollable" (type $own-pollable (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $own-pollable))))
  ))

  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))
  ))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))
    (export "error" (type $stream-io-error (eq $error)))
    (type $stream-error-cases (variant (case "last-operation-failed" (own $stream-io-error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error-cases)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output-stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))
  ))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
  ))

  (import "wasi:http/types@0.2.0" (instance $types
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $incoming-request (sub resource)))
    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))
    (export "output-stream" (type $body-stream (eq $output-stream)))
    (export "trailers" (type $trailers (eq $fields)))
    (type $dns-record (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns-record)))
    (type $tls-record (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls (eq $tls-record)))
    (type $size-record (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size-record)))
    (type $error-cases (variant
      (case "DNS-timeout")
      (case "DNS-error" $dns)
      (case "destination-not-found")
      (case "destination-unavailable")
      (case "destination-IP-prohibited")
      (case "destination-IP-unroutable")
      (case "connection-refused")
      (case "connection-terminated")
      (case "connection-timeout")
      (case "connection-read-timeout")
      (case "connection-write-timeout")
      (case "connection-limit-reached")
      (case "TLS-protocol-error")
      (case "TLS-certificate-error")
      (case "TLS-alert-received" $tls)
      (case "HTTP-request-denied")
      (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $size))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $size)
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $size)
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed")
      (case "HTTP-protocol-error")
      (case "loop-detected")
      (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-cases)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]incoming-request.path-with-query"
      (func (param "self" (borrow $incoming-request)) (result (option string))))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.body"
      (func (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[method]outgoing-body.write"
      (func (param "self" (borrow $outgoing-body)) (result (result (own $body-stream)))))
    (export "[static]outgoing-body.finish"
      (func (param "this" (own $outgoing-body)) (param "trailers" (option (own $trailers))) (result (result (error $error-code)))))
    (export "[static]response-outparam.set"
      (func (param "param" (own $response-outparam)) (param "response" (result (own $outgoing-response) (error $error-code)))))
  ))
  (alias export $types "incoming-request" (type $incoming-request))
  (alias export $types "response-outparam" (type $response-outparam))

  ;; The memory has a module of its own: what the host returns is written to it,
  ;; so it must exist before the imports can be lowered.
  (core module $allocator
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 8192))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $start i32)
      (local.set $start (i32.and
        (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $free (i32.add (local.get $start) (local.get $size)))
      (local.get $start)))
  (core instance $allocator (instantiate $allocator))
  (alias core export $allocator "memory" (core memory $memory))
  (alias core export $allocator "realloc" (core func $realloc))

  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $environment (canon lower (func $environment "get-environment") (memory $memory) (realloc $realloc)))
  (core func $path (canon lower (func $types "[method]incoming-request.path-with-query") (memory $memory) (realloc $realloc)))
  (core func $fields (canon lower (func $types "[constructor]fields")))
  (core func $response (canon lower (func $types "[constructor]outgoing-response")))
  (core func $body (canon lower (func $types "[method]outgoing-response.body") (memory $memory)))
  (core func $stream (canon lower (func $types "[method]outgoing-body.write") (memory $memory)))
  (core func $finish (canon lower (func $types "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
  (core func $respond (canon lower (func $types "[static]response-outparam.set") (memory $memory)))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $drop-stream (canon resource.drop $output-stream))
  (core func $drop-request (canon resource.drop $incoming-request))
  (core func $drop-pollable (canon resource.drop $pollable))

  (core module $version
    (import "memory" "memory" (memory 2))
    (import "host" "block" (func $block (param i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "path" (func $path (param i32 i32)))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "response" (func $response (param i32) (result i32)))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "stream" (func $stream (param i32 i32)))
    (import "host" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "host" "respond" (func $respond (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))
    (import "host" "drop-request" (func $drop-request (param i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))

    ;; 0..255: where the host writes results. 256: the version. 1024: "=" and newline.
    (data (i32.const 256) "{VERSION}")
    (data (i32.const 1024) "=\0a")
    (func $length (result i32)
      (local $at i32)
      (local.set $at (i32.const 256))
      (loop $next
        (if (i32.load8_u (local.get $at))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $next))))
      (i32.sub (local.get $at) (i32.const 256)))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $choice i32) (local $response i32) (local $body i32) (local $stream i32)
      (local $pollable i32) (local $entry i32) (local $count i32)
      ;; The first letter after the slash; 0 for "/".
      (call $path (local.get $request) (i32.const 0))
      (call $drop-request (local.get $request))
      (if (i32.and (i32.load (i32.const 0)) (i32.gt_u (i32.load (i32.const 8)) (i32.const 1)))
        (then (local.set $choice (i32.load8_u (i32.add (i32.load (i32.const 4)) (i32.const 1))))))

      (if (i32.eq (local.get $choice) (i32.const 119 (; w: wait ;)))
        (then
          (local.set $pollable (call $subscribe (i64.const 2000000000)))
          (call $block (local.get $pollable))
          (call $drop-pollable (local.get $pollable))))

      (local.set $response (call $response (call $fields)))
      (call $body (local.get $response) (i32.const 0))
      (local.set $body (i32.load (i32.const 4)))
      (call $respond (local.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $stream (local.get $body) (i32.const 0))
      (local.set $stream (i32.load (i32.const 4)))

      (if (i32.eq (local.get $choice) (i32.const 101 (; e: env ;)))
        (then
          (call $environment (i32.const 0))
          (local.set $entry (i32.load (i32.const 0)))
          (local.set $count (i32.load (i32.const 4)))
          (block $done
            (loop $next
              (br_if $done (i32.eqz (local.get $count)))
              (call $write (local.get $stream) (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry)) (i32.const 64))
              (call $write (local.get $stream) (i32.const 1024) (i32.const 1) (i32.const 64))
              (call $write (local.get $stream) (i32.load offset=8 (local.get $entry)) (i32.load offset=12 (local.get $entry)) (i32.const 64))
              (call $write (local.get $stream) (i32.const 1025) (i32.const 1) (i32.const 64))
              (local.set $entry (i32.add (local.get $entry) (i32.const 16)))
              (local.set $count (i32.sub (local.get $count) (i32.const 1)))
              (br $next))))
        (else (call $write (local.get $stream) (i32.const 256) (call $length) (i32.const 64))))

      (call $drop-stream (local.get $stream))
      (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 64)))
  )
  (core instance $version (instantiate $version
    (with "memory" (instance $allocator))
    (with "host" (instance
      (export "block" (func $block))
      (export "subscribe" (func $subscribe))
      (export "environment" (func $environment))
      (export "path" (func $path))
      (export "fields" (func $fields))
      (export "response" (func $response))
      (export "body" (func $body))
      (export "stream" (func $stream))
      (export "finish" (func $finish))
      (export "respond" (func $respond))
      (export "write" (func $write))
      (export "drop-stream" (func $drop-stream))
      (export "drop-request" (func $drop-request))
      (export "drop-pollable" (func $drop-pollable))))))

  (func $handle
    (param "request" (own $incoming-request)) (param "response-out" (own $response-outparam))
    (canon lift (core func $version "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
)
