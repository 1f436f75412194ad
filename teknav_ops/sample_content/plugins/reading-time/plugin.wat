;; reading-time: how many words a text has, and how many minutes it takes to read at 200 words a minute.
;;
;; Given   {"event": "...", "input": {"text": "..."}}
;; Answers {"words": 123, "minutes": 1}
;;
;; The text is found by looking for  "text": "  in the input; words are what spaces, tabs and escaped line
;; breaks separate, so it serves Persian as well as English. It asks for no permission.
(module
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 4096))
  (global $out (mut i32) (i32.const 2048))
  (data (i32.const 1024) "\"text\"")
  (data (i32.const 1040) "{\"words\": ")
  (data (i32.const 1056) ", \"minutes\": ")

  ;; Memory is handed out from the bottom and never given back: a run is short.
  (func $alloc (export "alloc") (param $length i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (global.get $next) (local.get $length)))
    (block $enough
      (loop $more
        (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $more (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))
        unreachable))
    (local.get $at))

  ;; Whether the six bytes at $at are "text" in quotes.
  (func $is_text (param $at i32) (result i32)
    (local $i i32)
    (loop $bytes
      (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $i)))
                  (i32.load8_u (i32.add (i32.const 1024) (local.get $i))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $bytes (i32.lt_u (local.get $i) (i32.const 6))))
    (i32.const 1))

  (func $put (param $byte i32)
    (i32.store8 (global.get $out) (local.get $byte))
    (global.set $out (i32.add (global.get $out) (i32.const 1))))

  (func $copy (param $at i32) (param $length i32)
    (memory.copy (global.get $out) (local.get $at) (local.get $length))
    (global.set $out (i32.add (global.get $out) (local.get $length))))

  (func $put_number (param $number i32)
    (if (i32.ge_u (local.get $number) (i32.const 10))
      (then (call $put_number (i32.div_u (local.get $number) (i32.const 10)))))
    (call $put (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))

  (func $count (param $at i32) (param $end i32) (result i32)
    (local $byte i32) (local $in_word i32) (local $words i32)
    (block $done
      (loop $bytes
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (br_if $done (i32.eq (local.get $byte) (i32.const 34)))
        (if (i32.eq (local.get $byte) (i32.const 92))
          (then
            ;; An escape: line breaks and tabs separate, whatever else is part of a word.
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (local.set $byte (i32.load8_u (local.get $at)))
            (local.set $byte
              (select (i32.const 32) (i32.const 120)
                (i32.or (i32.eq (local.get $byte) (i32.const 110))
                  (i32.or (i32.eq (local.get $byte) (i32.const 114)) (i32.eq (local.get $byte) (i32.const 116))))))))
        (if (i32.le_u (local.get $byte) (i32.const 32))
          (then (local.set $in_word (i32.const 0)))
          (else
            (if (i32.eqz (local.get $in_word))
              (then (local.set $words (i32.add (local.get $words) (i32.const 1)))))
            (local.set $in_word (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $bytes)))
    (local.get $words))

  (func (export "run") (param $at i32) (param $length i32) (result i64)
    (local $end i32) (local $words i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $found
      (loop $look
        (br_if $found (i32.ge_u (i32.add (local.get $at) (i32.const 8)) (local.get $end)))
        (if (call $is_text (local.get $at))
          (then
            (local.set $at (i32.add (local.get $at) (i32.const 6)))
            ;; On to the quote that opens the value.
            (loop $quote
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br_if $quote
                (i32.and (i32.lt_u (local.get $at) (local.get $end))
                  (i32.ne (i32.load8_u (local.get $at)) (i32.const 34)))))
            (local.set $words (call $count (i32.add (local.get $at) (i32.const 1)) (local.get $end)))
            (br $found)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $look)))
    (call $copy (i32.const 1040) (i32.const 10))
    (call $put_number (local.get $words))
    (call $copy (i32.const 1056) (i32.const 13))
    (call $put_number (i32.div_u (i32.add (local.get $words) (i32.const 199)) (i32.const 200)))
    (call $put (i32.const 125))
    (i64.or
      (i64.shl (i64.const 2048) (i64.const 32))
      (i64.extend_i32_u (i32.sub (global.get $out) (i32.const 2048)))))
)
