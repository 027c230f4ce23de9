package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// secretPrefix marks a secret of Standard Webhooks.
const secretPrefix = "whsec_"

// errSecret does not quote the secret.
var errSecret = errors.New(`not a secret of Standard Webhooks: write whsec_ and the base64 of 24 to 64 random bytes, such as echo "whsec_$(openssl rand -base64 32)" makes`)

// parseSecret returns the key in a secret.
func parseSecret(secret string) ([]byte, error) {
	coded, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return nil, errSecret
	}
	key, err := base64.StdEncoding.DecodeString(coded)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errSecret // that of base64 quotes what it could not read
	}
	return key, nil
}

// sign returns the header webhook-signature: one signature for each key.
func sign(keys [][]byte, id string, at time.Time, body string) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "." + body))
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
