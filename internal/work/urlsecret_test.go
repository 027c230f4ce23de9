package work

import (
	"net/url"
	"strings"
	"testing"
)

func TestSecretIn(t *testing.T) {
	t.Parallel()
	const canary = "hunter2"
	tests := []struct {
		raw  string
		want string // part of the name; empty: nothing is secret
	}{
		{"s3://photos/2020/?region=eu-west-1&endpoint=https://s3.example.org&kmskeyid=alias/x", ""},
		{"s3://photos/a@b/what?prefix=see", ""},
		{"s3://photos?prefix=a?b=c", ""},
		{"file:///srv/mail/user@example.org", ""},
		{"azblob://images?storage_account=media&protocol=https", ""},
		{"store://old-photos/2020/", ""},
		{"s3://AKIA:hunter2@photos/", "user before the @"},
		{"s3://hunter2@photos/", "user before the @"},
		{"s3://photos?secret_access_key=hunter2", "secret_access_key"},
		{"s3://photos?endpoint=https://AKIA:hunter2@s3.example.org", "of the parameter endpoint"},
		{"s3://photos/a?X-Amz-Credential=hunter2", "X-Amz-Credential"},
		{"s3://photos/a?x-amz-security-token=hunter2", "x-amz-security-token"},
		{"s3://photos/a?AWSAccessKeyId=hunter2", "AWSAccessKeyId"},
		{"gs://photos/a?X-Goog-Signature=hunter2", "X-Goog-Signature"},
		{"gs://photos?private_key_path=/hunter2", "private_key_path"},
		{"azblob://images?sv=2024-01-01&se=2030-01-01&sig=hunter2", "parameter s"},
		{"azblob://images?AccountKey=hunter2", "AccountKey"},
		{"s3://photos/a%3FX-Amz-Signature=hunter2", "in its path"},
		{"azblob://images/a%3Fsp=r%26sig=hunter2", "in its path"},
		{"s3://photos?prefix=a%3FX-Amz-Signature%3Dhunter2", "signed URL"},
		{"s3://photos?a=%zz", "cannot be read"},
	}
	for _, tt := range tests {
		u, err := url.Parse(tt.raw)
		if err != nil {
			t.Fatal(err)
		}
		got := SecretIn(u)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || strings.Contains(got, canary) {
			t.Errorf("SecretIn(%s) = %q, want %q in it", tt.raw, got, tt.want)
		}
	}
}
