package azurestore

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gocloud.dev/blob/azureblob"

	"github.com/tranship/tranship/internal/work"
)

// accounts are the names that an account can have; behind -secondary lies the
// copy of it in another region.
var accounts = regexp.MustCompile(`^[a-z0-9]{3,24}(-secondary)?$`)

// clouds are the domains of the service, by their ends: those of the public
// cloud, of accounts with a zone of their own, of China and of the United
// States' government.
var clouds = []string{".blob.core.windows.net", ".blob.storage.azure.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net"}

// checkAccount refuses what is no account's name: it becomes a part of the host
// that credentials are sent to, and of the names of variables.
func checkAccount(name string) error {
	if name != "" && !accounts.MatchString(name) {
		return fmt.Errorf("storage_account %s is not the name of an account: 3 to 24 of a-z and 0-9, and perhaps -secondary behind them", work.Quote(name))
	}
	return nil
}

// checkService refuses a service's URL that is not the one of its account and
// domain and of nothing else, however they are spelt.
func checkService(service, account, domain string) error {
	domain = cmp.Or(domain, azureDomain)
	u, err := url.Parse(service)
	switch {
	case err != nil, u.User != nil, u.RawQuery != "", u.Fragment != "":
	case u.Host == account+"."+domain && u.Path == "":
		return nil
	case u.Host == domain && (u.Path == "" || u.Path == "/"+account): // a CDN, an emulator
		return nil
	}
	return fmt.Errorf("domain %s is not the host, perhaps with a port, of a service", work.Quote(domain))
}

const azureDomain = "blob.core.windows.net" // where nobody says another

// mayMove reports why a job's URL, which names the endpoint itself, may not have
// requests sent there as who. Credentials of the process go where the process's
// environment says, or with an account's key, which is not sent itself, to one
// of Azure's clouds or a service on this machine. What is given belongs to a
// configured store, and so does its endpoint.
func mayMove(who identity, place string) error {
	if who.given {
		return nil
	}
	if who.key == "" {
		return errors.New("only with an account's key (AZURE_STORAGE_KEY) may the URL name the endpoint; use AZURE_STORAGE_DOMAIN and AZURE_STORAGE_PROTOCOL")
	}
	u, err := url.Parse(place)
	if err != nil {
		return errors.New("the endpoint is not a URL")
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	local := host == "localhost" || err == nil && ip.IsLoopback()
	azure := u.Scheme == "https" && slices.ContainsFunc(clouds, func(end string) bool { return strings.HasSuffix("."+host, end) })
	if !local && !azure {
		return fmt.Errorf("the agent's key is not used at %s://%s because a job's URL says so: "+
			"name the endpoint in stores of the agent's configuration, or in its AZURE_STORAGE_DOMAIN and AZURE_STORAGE_PROTOCOL", u.Scheme, u.Host)
	}
	return nil
}

// domainOf returns the domain and the account that a service's URL is made of.
func domainOf(o azureblob.ServiceURLOptions, q url.Values) (account, domain string) {
	account, domain = o.AccountName, o.StorageDomain
	if q.Has("storage_account") {
		account = q.Get("storage_account")
	}
	if q.Has("domain") {
		domain = q.Get("domain")
	}
	return account, domain
}
