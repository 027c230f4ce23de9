package servers

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// An AzureAccount is a storage account of an Azurite.
type AzureAccount struct {
	Name     string
	Key      string
	Endpoint string // http://127.0.0.1:port/name

	client *azblob.Client
}

var azurite = &kind{name: "azurite", program: azuriteCommand,
	plan: func(address, _ string) (server, []string, []string, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, nil, nil, err
		}
		var accounts azureAccounts
		var known []string
		for i, name := range []string{"transhipone", "transhiptwo"} {
			if accounts[i], err = newAzureAccount(name, address); err != nil {
				return nil, nil, nil, err
			}
			known = append(known, name+":"+accounts[i].Key)
		}
		// The SDK speaks a newer version of the protocol than the server knows.
		return accounts, []string{"--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
			"--blobHost", host, "--blobPort", port}, []string{"AZURITE_ACCOUNTS=" + strings.Join(known, ";")}, nil
	},
}

// azureAccounts are those of one Azurite, which keeps everything in memory.
type azureAccounts [2]*AzureAccount

// Azurite returns two accounts of the test binary's Azurite. It skips the test
// where it cannot run: it needs node, and npm to install it, which takes a
// minute and is done only if TRANSHIP_LONG is 1.
func Azurite(tb testing.TB) (one, two *AzureAccount) {
	tb.Helper()
	accounts := azurite.use(tb).(azureAccounts)
	return accounts[0], accounts[1]
}

func newAzureAccount(name, address string) (*AzureAccount, error) {
	key := base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text()))
	shared, err := azblob.NewSharedKeyCredential(name, key)
	if err != nil {
		return nil, err
	}
	a := &AzureAccount{Name: name, Key: key, Endpoint: "http://" + address + "/" + name}
	a.client, err = azblob.NewClientWithSharedKeyCredential(a.Endpoint, shared, nil)
	return a, err
}

func (a azureAccounts) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a[0].Endpoint+"?comp=list", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close() // whatever it says: it answers
}

// share does nothing: a program is given the accounts' keys by Env.
func (azureAccounts) share() error { return nil }
func (azureAccounts) forget()      {}

// azuriteCommand returns how to call the server, or skips the test.
func azuriteCommand(tb testing.TB) []string {
	tb.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		tb.Skipf("needs Azurite: %v", err)
	}
	program, err := azuriteProgram(tb)
	if err != nil {
		tb.Skipf("needs Azurite: %v", err)
	}
	return []string{node, program}
}

// azuriteProgram returns the path of the server's program, installing it first
// if need be and allowed.
func azuriteProgram(tb testing.TB) (string, error) {
	module, err := moduleDir()
	if err != nil {
		return "", err
	}
	files := []string{"package.json", "package-lock.json", ".npmrc"}
	texts := make([][]byte, len(files))
	sum := sha256.New()
	for i, name := range files {
		if texts[i], err = os.ReadFile(filepath.Join(module, name)); err != nil {
			return "", err
		}
		sum.Write(texts[i])
	}
	parent, err := cacheDir(module)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(filepath.Dir(parent), "azurite-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	program := filepath.Join(dir, "node_modules", ".bin", "azurite-blob")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if os.Getenv("TRANSHIP_LONG") != "1" {
		return "", errors.New("it is not installed yet: set TRANSHIP_LONG=1 once")
	}
	tb.Logf("installing Azurite once into %s", dir)
	temp := fmt.Sprintf("%s.%d", dir, os.Getpid())
	defer os.RemoveAll(temp)
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return "", err
	}
	for i, name := range files {
		if err := os.WriteFile(filepath.Join(temp, name), texts[i], 0o644); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = temp
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, tail(string(out)))
	}
	return program, os.Rename(temp, dir)
}

// Client returns a plain SDK client of the account, to look behind the
// product's back.
func (a *AzureAccount) Client() *azblob.Client { return a.client }

// CreateContainer creates a container; one that is there already is no error.
func (a *AzureAccount) CreateContainer(tb testing.TB, name string) {
	tb.Helper()
	_, err := a.client.CreateContainer(tb.Context(), name, nil)
	if err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		tb.Fatalf("create container %s of %s: %v", name, a.Name, err)
	}
}

// Env returns the environment variable, as NAME=value, that gives a program
// the account's key.
func (a *AzureAccount) Env() string {
	return "AZURE_STORAGE_KEY_" + strings.ToUpper(a.Name) + "=" + a.Key
}

// URL returns the store URL of a prefix in a container, which is good for a
// program with Env in its environment.
func (a *AzureAccount) URL(container, prefix string) string {
	endpoint, _ := url.Parse(a.Endpoint) // we made it
	u := url.URL{Scheme: "azblob", Host: container, Path: "/" + prefix, RawQuery: url.Values{
		"storage_account": {a.Name},
		"domain":          {endpoint.Host},
		"protocol":        {"http"},
		"localemu":        {"true"},
	}.Encode()}
	return u.String()
}
