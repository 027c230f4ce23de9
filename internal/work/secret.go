package work

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

// The kinds of secrets, by how their text begins: so that a secret which got
// somewhere by mistake is known for what it is.
const (
	SecretToken   = "tsp_" // of a Token
	SecretSession = "tss_" // of a browser that is signed in
	SecretCode    = "tsc_" // of a link that signs a browser in, once
)

// How long the parts of a secret's text are.
const (
	secretBytes  = 32
	secretDigits = 43 // 62^43 is more than 2^256
	checkDigits  = 6  // 62^6 is more than 2^32
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// NewSecret returns a new secret of a kind: 256 random bits as 43 letters and
// digits, and 6 that check all before them.
func NewSecret(kind string) string {
	var b [secretBytes]byte
	rand.Read(b[:])
	text := kind + digits(new(big.Int).SetBytes(b[:]), secretDigits)
	return text + checksum(text)
}

// IsSecret reports whether text is whole as one of the kind: not that anybody
// knows it, only that it was not misspelt or cut.
func IsSecret(kind, text string) bool {
	body := len(kind) + secretDigits
	if len(text) != body+checkDigits || !strings.HasPrefix(text, kind) {
		return false
	}
	return checksum(text[:body]) == text[body:]
}

// HashSecret returns what is kept of a secret. It has 256 random bits, so a
// plain hash of it cannot be guessed from.
func HashSecret(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// checksum returns the digits that tell a misspelt text.
func checksum(text string) string {
	return digits(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))), checkDigits)
}

// digits writes n in base 62 with so many digits.
func digits(n *big.Int, width int) string {
	out := make([]byte, width)
	base, rest := big.NewInt(int64(len(base62))), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, rest)
		out[i] = base62[rest.Int64()]
	}
	return string(out)
}
