package healthflip

import (
	"archive/tar"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// What a label says is run in the replica word by word, with no shell but one
// that the label itself names, and with no more rights than the replica has.
func FuzzExec(f *testing.F) {
	for _, pair := range [][2]string{{"touch /tmp/drain", "rm /tmp/drain"}, {`["sh","-c","a; b"]`, "true"}, {`sh -c "a && b"`, `'`}, {"$(id)", "`id` $HOME *"}, {"a\nb", "\x1b[2J"}, {`[]`, `[""]`}, {`["a",1]`, "a>b"}, {"a\x00b", "a"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, on, off string) {
		labels := map[string]string{labelExec: on, labelUnflipExec: off}
		text, err := Way(labels, nil)
		if err != nil {
			return
		}
		wanted, err := parseCommand(labelExec, on)
		if err != nil {
			t.Fatalf("Way took %q: %v", on, err)
		}
		if strings.ContainsAny(text, "\n\r\x1b\x00") {
			t.Errorf("shown as %q", text)
		}
		var ran [][]string
		d := &fakeDocker{t: t, inspect: running(labels)}
		d.run = func(options container.ExecOptions) (int, string, string) {
			if options.Privileged || options.User != "" || len(options.Env) > 0 || options.WorkingDir != "" {
				t.Errorf("run with %+v", options)
			}
			ran = append(ran, options.Cmd)
			return 0, "", ""
		}
		flipper := New(d)
		if err := flipper.Flip(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if len(ran) != 1 || !slices.Equal(ran[0], wanted) {
			t.Errorf("%q ran as %q, want %q", on, ran, wanted)
		}
	})
}

// The marker is one file at the path that the label says, and never in the
// place of a folder.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"/tmp/drain", "/tmp/../etc/passwd", "relative", "/", "//a//b", "/a/.", "/a\nb", "/a\x00", "/" + strings.Repeat("a", 300)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		labels := map[string]string{labelFile: name}
		if _, err := Way(labels, nil); err != nil {
			return
		}
		if !path.IsAbs(name) || strings.ContainsRune(name, 0) {
			t.Fatalf("%q is accepted", name)
		}
		d := &fakeDocker{t: t, inspect: running(labels)}
		d.copy = func(directory string, header *tar.Header, _ string) error {
			if got := path.Join(directory, header.Name); got != path.Clean(name) || strings.Contains(header.Name, "/") || header.Typeflag == tar.TypeDir {
				t.Errorf("%q is written as %q in %q", name, header.Name, directory)
			}
			return nil
		}
		if err := New(d).Flip(t.Context(), "a"); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	})
}

// A label's path is all of the request that it decides.
func FuzzHTTP(f *testing.F) {
	for _, target := range []string{"/ko", "/ko?x=1", "//evil.test/", "http://evil.test/", "/a b", "/\r\nHost: evil", "/%zz", "/#a", "?a"} {
		f.Add(target, "80", "POST")
	}
	f.Add("/ko", "99999", "GE T")
	f.Fuzz(func(t *testing.T, target, port, method string) {
		labels := map[string]string{labelHTTP: target, labelUnflipHTTP: "/ok", labelPort: port, labelMethod: method}
		if _, err := Way(labels, nil); err != nil {
			return
		}
		if !strings.HasPrefix(target, "/") || strings.ContainsAny(target, " \r\n\x00") || strings.ContainsAny(method, " \r\n\x00") {
			t.Errorf("%q %q is accepted", method, target)
		}
		for _, command := range [][]string{curl(method, "http://127.0.0.1:80"+target), wget(method, "http://127.0.0.1:80"+target)} {
			if slices.Contains(command, "sh") || !slices.Contains(command, "http://127.0.0.1:80"+target) {
				t.Errorf("runs %q", command)
			}
		}
	})
}

// What runs inside prints anything.
func FuzzStatusLine(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\nfine", "  HTTP/1.1 503 Service Unavailable\n", 0)
	f.Add("", "wget: server returned error: HTTP/1.0 404", 1)
	f.Add("HTTP/1.1 99999999999999999999", "HTTP/", 127)
	f.Fuzz(func(t *testing.T, stdout, stderr string, code int) {
		done := result{code: code}
		for text, to := range map[*string]*capture{&stdout: &done.stdout, &stderr: &done.stderr} {
			if _, err := to.Write([]byte(*text)); err != nil {
				t.Fatal(err)
			}
		}
		status, body := answered(done)
		if status != 0 && (status < 100 || status > 599) || len(body) > len(stdout) {
			t.Errorf("status %d, %q", status, body)
		}
		if err := judge("GET", "/ko", status, body); err != nil && (len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r\x1b")) {
			t.Errorf("tells %q", err)
		}
		if text := lastLines(done.stderr.tail, done.stdout.tail); strings.ContainsAny(text, "\n\r\x1b") {
			t.Errorf("last lines %q", text)
		}
	})
}
