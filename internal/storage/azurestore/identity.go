package azurestore

import (
	"cmp"
	"errors"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"gocloud.dev/blob/azureblob"

	"github.com/tranship/tranship/internal/storage"
)

// An identity is as whom requests are made: with an account's key, a SAS token,
// a connection string, or else a login.
type identity struct {
	given   bool   // by credentials, not by the environment
	account string // of the key
	key     string
	token   string // SAS
	text    string // connection string

	tenant, client, secret string // of a login; none: that of the machine or its user
}

// identify returns the identity that credentials hold, or the environment for
// the account that the URL's parameters name.
func identify(c storage.Credentials, q url.Values) (identity, error) {
	account := q.Get("storage_account")
	if c.IsZero() {
		return fromEnvironment(account), nil
	}
	if err := c.Check("account_key", "sas", "connection_string", "tenant_id", "client_id", "client_secret"); err != nil {
		return identity{}, err
	}
	who := identity{
		given: true, account: cmp.Or(account, azureblob.NewDefaultServiceURLOptions().AccountName), key: c.Get("account_key"),
		token: strings.TrimPrefix(c.Get("sas"), "?"), text: c.Get("connection_string"),
		tenant: c.Get("tenant_id"), client: c.Get("client_id"), secret: c.Get("client_secret"),
	}
	if who.account == "" && who.text == "" {
		return identity{}, errors.New("no account: add ?storage_account=… to the URL")
	}
	return who, nil
}

// fromEnvironment returns what the environment holds for an account, of which
// the one it names itself is the default.
func fromEnvironment(account string) identity {
	home := azureblob.NewDefaultServiceURLOptions().AccountName
	env := func(variable string) string {
		own := os.Getenv(variable + "_" + strings.ToUpper(cmp.Or(account, home)))
		if own == "" && (account == "" || account == home) {
			own = os.Getenv(variable)
		}
		return own
	}
	return identity{
		account: cmp.Or(account, home), key: env("AZURE_STORAGE_KEY"),
		token: strings.TrimPrefix(env("AZURE_STORAGE_SAS_TOKEN"), "?"),
		text:  cmp.Or(env("AZURE_STORAGE_CONNECTION_STRING"), env("AZURE_STORAGEBLOB_CONNECTIONSTRING")),
	}
}

// login returns what tokens come from: an application with its secret, the
// managed identity that is named, or whatever the machine has.
func (who identity) login(p *pool) (azcore.TokenCredential, error) {
	switch {
	case who.secret != "":
		return azidentity.NewClientSecretCredential(who.tenant, who.client, who.secret, nil)
	case who.client != "":
		return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(who.client)})
	}
	return p.token()
}
