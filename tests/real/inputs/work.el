;;; work.el -- sorting, JSON, searching, coding systems, children, sockets, threads, large numbers  -*- lexical-binding: t -*-

(require 'cl-lib)
(require 'ert)
(require 'json)

(defun lines ()
  (with-temp-buffer
    (dotimes (i 20000)
      (insert (format "line %d %d\n" (mod (* i 7919) 1009) i)))
    (sort-lines nil (point-min) (point-max))
    (sort-numeric-fields 3 (point-min) (point-max))
    (message "lines %s" (md5 (buffer-string)))))

(defun json ()
  (let* ((data (cl-loop for i below 3000
                        collect `((id . ,i) (name . ,(format "n%d" i)) (list . [,i x 1.5]))))
         (text (json-encode (vconcat data)))
         (native (json-parse-string text :object-type 'alist)))
    (message "json %d %s" (length (json-read-from-string text)) (secure-hash 'sha256 text))
    (message "json %s" (md5 (json-serialize native)))))

(defun searches ()
  (with-temp-buffer
    (dotimes (_ 3000)
      (insert "foo(bar, \"baz\") ; comment é ü 漢字\n"))
    (goto-char 1)
    (while (re-search-forward "b\\(a\\)\\([rz]\\)" nil t)
      (replace-match "q\\2\\1"))
    (lisp-mode)
    (font-lock-ensure)
    (message "searches %s" (md5 (encode-coding-string (buffer-string) 'utf-16)))))

(defun hashes ()
  (let ((table (make-hash-table :test 'equal)))
    (dotimes (i 50000)
      (puthash (format "k%d" (mod (* i 7919) 20011)) i table))
    (garbage-collect)
    (message "hashes %d" (hash-table-count table))))

(defun child ()
  (let* ((got "")
         (cat (make-process :name "cat" :command '("cat") :connection-type 'pipe
                            :filter (lambda (_ text) (setq got (concat got text))))))
    (dotimes (_ 50)
      (process-send-string cat (make-string 500 ?z)))
    (process-send-eof cat)
    (with-timeout (30)
      (while (< (length got) 25000)
        (accept-process-output cat 0.1)))
    (message "child %d" (length got))))

(defun sockets ()
  (let* ((got "")
         (server (make-network-process
                  :name "server" :server t :host "127.0.0.1" :service t :family 'ipv4
                  :filter (lambda (client text) (process-send-string client (upcase text)))))
         (client (make-network-process
                  :name "client" :host "127.0.0.1" :family 'ipv4
                  :service (process-contact server :service)
                  :filter (lambda (_ text) (setq got (concat got text))))))
    (dotimes (_ 50)
      (process-send-string client (make-string 200 ?q)))
    (with-timeout (30)
      (while (< (length got) 10000)
        (accept-process-output nil 0.1)))
    (delete-process client)
    (delete-process server)
    (message "sockets %s" (md5 got))))

(defun threads ()
  (let ((all (cl-loop for i below 10
                      collect (let ((sum i))
                                (make-thread (lambda ()
                                               (dotimes (k 5000)
                                                 (cl-incf sum k)
                                                 (when (= 0 (mod k 500)) (thread-yield)))
                                               sum))))))
    (message "threads %s" (mapcar #'thread-join all))))

(defun numbers ()
  (let ((product 1))
    (dotimes (i 800)
      (setq product (* product (1+ i))))
    (message "numbers %s" (md5 (number-to-string product)))))

(ert-deftest everything ()
  (mapc #'funcall '(lines json searches hashes child sockets threads numbers))
  (should (= (call-process "sh" nil nil nil "-c" "exit 4") 4))
  (should-error (error "On purpose")))

(dotimes (_ (string-to-number (or (getenv "SIZE") "1")))
  (let ((stats (ert-run-tests-batch)))
    (message "%d as expected, %d not" (ert-stats-completed-expected stats)
             (ert-stats-completed-unexpected stats))))
(kill-emacs 3)
