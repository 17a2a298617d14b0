# Round trips through openssl; keys are random, so only what must come out is printed.
set -eu
seq 1 200000 > plain.txt
openssl dgst -sha256 plain.txt
openssl dgst -sha3-512 plain.txt
openssl enc -aes-256-cbc -K "$(printf '11%.0s' $(seq 32))" -iv "$(printf '22%.0s' $(seq 16))" -in plain.txt -out box
openssl enc -d -aes-256-cbc -K "$(printf '11%.0s' $(seq 32))" -iv "$(printf '22%.0s' $(seq 16))" -in box | sha256sum
sha256sum box
openssl enc -aes-128-ctr -pbkdf2 -pass pass:x -in plain.txt -out box2
openssl enc -d -aes-128-ctr -pbkdf2 -pass pass:x -in box2 | cmp - plain.txt
openssl genrsa -out key.pem 2048 2>/dev/null
openssl rsa -in key.pem -check -noout
openssl rsa -in key.pem -pubout -out pub.pem 2>/dev/null
openssl dgst -sha256 -sign key.pem -out sig plain.txt
openssl dgst -sha256 -verify pub.pem -signature sig plain.txt
openssl req -x509 -new -key key.pem -days 3650 -subj /CN=test/O=some -out cert.pem
openssl x509 -in cert.pem -noout -subject
openssl verify -CAfile cert.pem cert.pem
openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
openssl req -new -key ec.pem -subj /CN=leaf -out leaf.csr
openssl x509 -req -in leaf.csr -CA cert.pem -CAkey key.pem -days 10 -out leaf.pem 2>/dev/null
openssl verify -CAfile cert.pem leaf.pem
openssl pkcs12 -export -inkey ec.pem -in leaf.pem -passout pass:y -out store.p12
openssl pkcs12 -in store.p12 -passin pass:y -nodes -nokeys 2>/dev/null | grep -c BEGIN
openssl cms -sign -in plain.txt -signer leaf.pem -inkey ec.pem -nodetach -outform DER -out signed -binary
openssl cms -verify -in signed -inform DER -CAfile cert.pem -purpose any -binary 2>/dev/null | sha256sum
