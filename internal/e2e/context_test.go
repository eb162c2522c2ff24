//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/roll-deploy/roll/internal/lab"
)

const worker = `
services:
  worker:
    image: roll-lab/replica:${VERSION:-v1}
    command: ["worker"]
    healthcheck:
      test: ["CMD", "/replica", "health", "heartbeat"]
      interval: 1s
      timeout: 5s
      retries: 2
`

// Whatever way docker knows to a daemon, roll and the `docker compose` that it calls take the same.
func TestADaemonIsReachedInEveryWayThatDockerKnows(t *testing.T) {
	keys := t.TempDir()
	host := secureDoor(t, keys)
	bin := t.TempDir()
	// ssh runs its command in a shell on another machine; here there is only this one.
	must(t, os.WriteFile(filepath.Join(bin, "ssh"), []byte(`#!/bin/sh
echo "$@" >> "$SSH_CALLS"
for command; do :; done
unset DOCKER_CONTEXT
DOCKER_HOST=$FAR_HOST exec sh -c "$command"
`), 0o755))
	tlsFlags := []string{"--tlsverify", "--tlscacert", keys + "/ca.pem", "--tlscert", keys + "/cert.pem", "--tlskey", keys + "/key.pem"}
	for _, way := range []struct {
		name    string
		env     []string
		context string // of `docker context create`; empty: none
		args    []string
		ssh     bool
	}{
		{name: "TLS by docker's variables", env: []string{"DOCKER_HOST=" + host, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=" + keys}, args: []string{rollBin}},
		{name: "TLS by docker's flags", args: append([]string{rollBin, "-H", host}, tlsFlags...)},
		{name: "a context with TLS", context: "host=" + host + ",ca=" + keys + "/ca.pem,cert=" + keys + "/cert.pem,key=" + keys + "/key.pem", args: []string{rollBin, "--context", "far"}},
		{name: "ssh", env: []string{"DOCKER_HOST=ssh://ops@far"}, args: []string{rollBin}, ssh: true},
		{name: "a context over ssh, as a plugin", context: "host=ssh://ops@far", args: []string{"docker", "--context", "far", "roll"}, ssh: true},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			p := theLab.Project(t, lab.Source{Compose: worker, NoTraefik: true})
			must(t, p.Up(t.Context()))
			config := configFolder(t, p)
			near := ""
			for _, pair := range p.Env() {
				if value, ok := strings.CutPrefix(pair, "DOCKER_HOST="); ok {
					near = value
				}
			}
			calls := filepath.Join(t.TempDir(), "calls")
			env := append(p.Env(), "DOCKER_HOST=", "DOCKER_CONFIG="+config, "PATH="+bin+":"+os.Getenv("PATH"), "FAR_HOST="+near, "SSH_CALLS="+calls, "VERSION=v2")
			if way.context != "" {
				create := exec.CommandContext(t.Context(), "docker", "context", "create", "far", "--docker", way.context)
				create.Env = env
				if out, err := create.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			before := names(t, p, "worker")
			cmd := exec.CommandContext(t.Context(), way.args[0], append(way.args[1:], "up", "--progress", "json", "worker")...)
			cmd.Dir, cmd.Env = p.Dir, append(env, way.env...)
			o := exits(t, cmd)
			if o.code != 0 {
				t.Fatal(o)
			}
			after := names(t, p, "worker")
			if r := o.result(t); len(after) != 1 || after[0] == before[0] || len(r.Created) != 1 || r.Created[0] != after[0] {
				t.Errorf("%v before, %v after; %s", before, after, o)
			}
			if _, err := os.Stat(calls); (err == nil) != way.ssh {
				t.Errorf("calls of ssh: %v, want some: %t", err, way.ssh)
			}
		})
	}
}

// configFolder is a configuration folder of docker with Compose and roll as plugins.
func configFolder(t *testing.T, p *lab.Project) string {
	t.Helper()
	find := exec.CommandContext(t.Context(), "docker", "info", "--format", `{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}`)
	find.Env = p.Env()
	out, err := find.Output()
	must(t, err)
	dir := t.TempDir()
	plugins := filepath.Join(dir, "cli-plugins")
	must(t, os.Mkdir(plugins, 0o755))
	must(t, os.Symlink(strings.TrimSpace(string(out)), filepath.Join(plugins, "docker-compose")))
	must(t, os.Symlink(rollBin, filepath.Join(plugins, "docker-roll")))
	return dir
}

// secureDoor leads to the lab's engine over TLS and lets in only who shows the certificate that it leaves in dir.
func secureDoor(t *testing.T, dir string) (host string) {
	t.Helper()
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	issue := func(serial int64, name string, usage x509.ExtKeyUsage) tls.Certificate {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage},
			KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		}
		parent, signer := authority, authorityKey
		if parent == nil {
			template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		must(t, err)
		if authority == nil {
			authority, err = x509.ParseCertificate(der)
			must(t, err)
			authorityKey = key
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	issue(1, "authority", x509.ExtKeyUsageAny)
	server := issue(2, "server", x509.ExtKeyUsageServerAuth)
	client := issue(3, "client", x509.ExtKeyUsageClientAuth)
	key, err := x509.MarshalECPrivateKey(client.PrivateKey.(*ecdsa.PrivateKey))
	must(t, err)
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: authority.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: client.Certificate[0]},
		"key.pem":  {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	door, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	must(t, err)
	var open sync.WaitGroup
	t.Cleanup(func() {
		door.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				return
			}
			open.Go(func() { forward(conn) })
		}
	})
	return "tcp://" + door.Addr().String()
}

// forward joins a connection with one to the lab's engine until either ends.
func forward(conn net.Conn) {
	defer conn.Close()
	network, address, _ := strings.Cut(theLab.Engine.Host, "://")
	engine, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer engine.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pass(engine, conn)
	go pass(conn, engine)
	<-ended
	// The other direction may hold the rest of an answer.
	if half, ok := engine.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	<-ended
}
