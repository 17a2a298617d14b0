;; Guile's weak tables, guardians, symbols and threads, all of which are libgc's links and finalizers.
(use-modules (srfi srfi-1) (ice-9 threads))

(define guarded (make-guardian))
(define table (make-weak-key-hash-table))
(define rounds (string->number (cadr (command-line))))

(define (work n)
  (let loop ((i 0) (kept '()))
    (if (= i n)
        (length kept)
        (let ((v (make-vector 10 i)))
          (when (zero? (modulo i 50))
            (guarded (list i))
            (hashq-set! table v i))
          (string->symbol (string-append "symbol" (number->string i)))
          (loop (+ i 1) (if (zero? (modulo i 100)) (cons v kept) kept))))))

(define names (map number->string (iota 1000)))
(define symbols (map string->symbol names))

(display (work rounds)) (newline)
(gc) (gc) (gc)
(let loop ((n 0))
  (if (and (guarded) (< n (* 2 rounds))) (loop (+ n 1)) (display (<= n (/ rounds 50)))))
(newline)
(display (map join-thread
              (map (lambda (k) (call-with-new-thread (lambda () (work (quotient rounds 4))))) (iota 3))))
(newline)
(gc)
(display (every eq? symbols (map string->symbol names))) (newline)
(display (fold + 0 (map (lambda (i) (string-length (number->string (expt 3 i)))) (iota 500)))) (newline)
