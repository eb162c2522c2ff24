package compose

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/docker/docker/client"
)

// answers is an Engine that answers each request the same way every time; what
// it has no answer to is not found.
func answers(t *testing.T, routes map[string]http.HandlerFunc) *Leases {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // without the version
		if answer, ok := routes[r.Method+" "+path]; ok {
			answer(w, r)
			return
		}
		says(http.StatusNotFound, `{"message":"no such thing"}`)(w, r)
	}))
	t.Cleanup(server.Close)
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+server.Listener.Addr().String()), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	return NewLeases(api, "web:1")
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// holds is an archive of one entry, which may claim to be longer than it is.
func holds(header tar.Header, content string) http.HandlerFunc {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	_ = w.WriteHeader(&header)
	_, _ = w.Write([]byte(content))
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString([]byte(`{"name":"roll-lock.json"}`)))
		_, _ = w.Write(archive.Bytes())
	}
}

const lock = `{"Id":"c1","Config":{"Labels":{"roll.lock":"shop","roll.lock.claim":"first"}}}`

func TestALeaseIsReadWhateverIsInIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		archive http.HandlerFunc
		want    string
		fails   string
	}{
		{"a file", holds(tar.Header{Name: "roll-lock.json", Typeflag: tar.TypeReg, Size: 3}, "now"), "now", ""},
		{"no file yet", says(http.StatusNotFound, `{"message":"no such file"}`), "first", ""},
		{"a link", holds(tar.Header{Name: "roll-lock.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""), "", ""},
		{"a directory", holds(tar.Header{Name: "roll-lock.json/", Typeflag: tar.TypeDir}, ""), "", ""},
		{"a file without end", holds(tar.Header{Name: "roll-lock.json", Typeflag: tar.TypeReg, Size: 1 << 20}, strings.Repeat("x", 1<<17)), strings.Repeat("x", leaseMost), ""},
		{"a file that breaks off", holds(tar.Header{Name: "roll-lock.json", Typeflag: tar.TypeReg, Size: 10}, "now"), "", "unpack: unexpected EOF"},
		{"no archive", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString([]byte(`{}`)))
			fmt.Fprint(w, strings.Repeat("nonsense", 100))
		}, "", "unpack: archive/tar: invalid tar header"},
		{"an Engine in trouble", says(http.StatusInternalServerError, `{"message":"disk on fire"}`), "", "disk on fire"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := answers(t, map[string]http.HandlerFunc{
				"GET containers/roll-lock-shop/json": says(http.StatusOK, lock),
				"GET containers/c1/json":             says(http.StatusOK, lock),
				"GET containers/c1/archive":          c.archive,
			})
			id, content, err := store.Read(t.Context(), "shop")
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || errors.Is(err, ErrGone) {
					t.Errorf("error %v, want %s", err, c.fails)
				}
				return
			}
			if err != nil || id != "c1" || string(content) != c.want {
				t.Errorf("id %s, %d bytes, error %v; want c1, %q", id, len(content), err, c.want)
			}
		})
	}
}

func TestALeaseThatGoesWhileItIsReadIsGone(t *testing.T) {
	store := answers(t, map[string]http.HandlerFunc{"GET containers/roll-lock-shop/json": says(http.StatusOK, lock)})
	if _, content, err := store.Read(t.Context(), "shop"); !errors.Is(err, ErrGone) {
		t.Errorf("read %q, error %v, want ErrGone", content, err)
	}
}

func TestAContainerThatIsNoLeaseIsNeverTakenForOne(t *testing.T) {
	for name, document := range map[string]string{
		"without a label":       `{"Id":"c1","Config":{"Labels":{}}}`,
		"with another's":        `{"Id":"c1","Config":{"Labels":{"roll.lock":"blog"}}}`,
		"without configuration": `{"Id":"c1"}`,
		"empty":                 `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			store := answers(t, map[string]http.HandlerFunc{"GET containers/roll-lock-shop/json": says(http.StatusOK, document)})
			if id, _, err := store.Read(t.Context(), "shop"); id != "" || err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "container roll-lock-shop has the name of the lease but not its label roll.lock=shop") {
				t.Errorf("id %q, error %v", id, err)
			}
		})
	}
}

// Only a container that is not there is a lost lease: the Engine also says
// "not found" of a file system that it cannot mount.
func TestWhatCannotBeWrittenIsGoneOnlyWithItsContainer(t *testing.T) {
	for name, there := range map[string]bool{"there": true, "gone": false} {
		t.Run(name, func(t *testing.T) {
			routes := map[string]http.HandlerFunc{}
			if there {
				routes["GET containers/c1/json"] = says(http.StatusOK, lock)
			}
			err := answers(t, routes).Write(t.Context(), "c1", []byte("now"))
			if err == nil || errors.Is(err, ErrGone) == there {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestReleaseOfWhatSomebodyElseRemoves(t *testing.T) {
	conflict := says(http.StatusConflict, `{"message":"removal of container c1 is already in progress"}`)
	store := answers(t, map[string]http.HandlerFunc{"DELETE containers/c1": conflict})
	if err := store.Release(t.Context(), "c1"); err != nil {
		t.Errorf("it is gone by now: %v", err)
	}
	store = answers(t, map[string]http.HandlerFunc{"DELETE containers/c1": conflict, "GET containers/c1/json": says(http.StatusOK, lock)})
	if err := store.Release(t.Context(), "c1"); err == nil || !strings.Contains(err.Error(), "remove container c1: ") {
		t.Errorf("it is still there: %v", err)
	}
}

func TestClaimTellsWhyThereIsNoLease(t *testing.T) {
	image := says(http.StatusOK, `{"Id":"sha256:1","Config":{"Labels":{"com.docker.compose.project":"shop","maintainer":"ann"}}}`)
	for _, c := range []struct {
		name   string
		routes map[string]http.HandlerFunc
		is     error
		text   string
	}{
		{"somebody has it", map[string]http.HandlerFunc{"GET images/web:1/json": image, "POST containers/create": says(http.StatusConflict, `{"message":"name in use"}`)}, ErrTaken, ""},
		{"no image at all", map[string]http.HandlerFunc{"GET images/json": says(http.StatusOK, `[]`)}, ErrNoImage, ""},
		{"the Engine refuses", map[string]http.HandlerFunc{"GET images/web:1/json": image, "POST containers/create": says(http.StatusForbidden, `{"message":"read only"}`)}, nil, "create container roll-lock-shop: Error response from daemon: read only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := answers(t, c.routes).Claim(t.Context(), "shop", []byte("first"))
			if err == nil || c.is != nil && !errors.Is(err, c.is) || c.is == nil && err.Error() != c.text {
				t.Errorf("error %v, want %v %s", err, c.is, c.text)
			}
		})
	}
}
