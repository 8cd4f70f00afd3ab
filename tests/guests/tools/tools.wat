;; Typed exports of every kind that JSON has a form for. What is too large for sixteen flat values
;; is passed by one pointer, and so is a result: giving back the pointer gives back the value.
(module
  (import "[export]acme:store/blobs@1.0.0" "[resource-new]blob" (func $new (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 1024))
  (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32) (local $pages i32)
    (local.set $at (i32.and
      (i32.add (global.get $free) (i32.sub (local.get 2) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get 2))))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.set $pages (i32.add (i32.const 1) (i32.shr_u (global.get $free) (i32.const 16))))
    (if (i32.gt_u (local.get $pages) (memory.size))
      (then (if (i32.eq (i32.const -1) (memory.grow (i32.sub (local.get $pages) (memory.size))))
        (then (unreachable)))))
    (local.get $at))
  ;; A list or a string, by the pointer to pointer and length.
  (func $pair (param i32 i32) (result i32)
    (i32.store (i32.const 0) (local.get 0))
    (i32.store (i32.const 4) (local.get 1))
    (i32.const 0))
  (data (i32.const 64) "division by zero")

  (func (export "acme:math/tools@1.2.0#add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "acme:math/tools@1.2.0#divide") (param i32 i32) (result i32)
    (i32.store (i32.const 0) (i32.eqz (local.get 1)))
    (if (i32.eqz (local.get 1))
      (then
        (i32.store (i32.const 4) (i32.const 64))
        (i32.store (i32.const 8) (i32.const 16)))
      (else (i32.store (i32.const 4) (i32.div_u (local.get 0) (local.get 1)))))
    (i32.const 0))
  (func (export "acme:math/tools@1.2.0#trap") (unreachable))
  (func (export "acme:math/tools@1.2.0#spin") (loop (br 0)))
  (func (export "acme:math/tools@1.2.0#nothing"))
  (func (export "acme:math/tools@1.2.0#hold") (param i32)
    (drop (call $realloc
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.shl (local.get 0) (i32.const 20)))))

  (func (export "acme:shapes/echo@1.0.0#draw") (param i32) (result i32) (local.get 0))
  (func (export "acme:shapes/echo@1.0.0#everything") (param i32) (result i32) (local.get 0))
  (func (export "acme:shapes/echo@1.0.0#bytes") (param i32 i32) (result i32)
    (call $pair (local.get 0) (local.get 1)))
  (func (export "acme:shapes/echo@1.0.0#text") (param i32 i32) (result i32)
    (call $pair (local.get 0) (local.get 1)))
  (func (export "acme:shapes/echo@1.0.0#unsigned") (param i64) (result i64) (local.get 0))
  (func (export "acme:shapes/echo@1.0.0#signed") (param i64) (result i64) (local.get 0))
  (func (export "acme:shapes/echo@1.0.0#single") (param f32) (result f32) (local.get 0))
  (func (export "acme:shapes/echo@1.0.0#double") (param f64) (result f64) (local.get 0))
  (func (export "acme:shapes/echo@1.0.0#zeros") (param i32) (result i32)
    (call $pair
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get 0))
      (local.get 0)))

  (func (export "acme:store/blobs@1.0.0#[constructor]blob") (result i32)
    (call $new (i32.const 0)))
  (func (export "acme:store/blobs@1.0.0#open") (result i32) (call $new (i32.const 0)))
  (func (export "acme:store/blobs@1.0.0#size") (result i32) (i32.const 0))

  (func (export "lone") (param i32) (result i32) (local.get 0))
)
