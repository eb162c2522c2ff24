package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// output is what a replica printed, readable while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// running is a replica that serves in this process.
type running struct {
	url   string
	stop  chan os.Signal
	flips chan os.Signal
	exit  chan int
	out   *output
	env   map[string]string
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// launch starts a replica and waits until it says that it serves.
func launch(t *testing.T, env map[string]string) *running {
	t.Helper()
	port := freePort(t)
	env["PORT"] = port
	r := &running{url: "http://127.0.0.1:" + port, stop: make(chan os.Signal, 1), flips: make(chan os.Signal, 1), exit: make(chan int, 1), out: &output{}, env: env}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { r.exit <- run(ctx, nil, r.getenv, r.out, r.stop, r.flips) }()
	t.Cleanup(cancel)
	r.waitFor(t, "serving on")
	return r
}

func (r *running) getenv(name string) string { return r.env[name] }

// waitFor waits until the replica has printed text.
func (r *running) waitFor(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !strings.Contains(r.out.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %q within 30s in: %s", text, r.out)
		}
	}
}

func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestHealthFollowsRoutesSignalsAndMarker(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "drain")
	r := launch(t, map[string]string{"VERSION": "v7", "MARKER": marker})
	expect := func(when string, want int) {
		t.Helper()
		if got, _ := r.get(t, "/health"); got != want {
			t.Errorf("health %s = %d, want %d", when, got, want)
		}
		exit := run(t.Context(), []string{"health"}, r.getenv, io.Discard, nil, nil)
		if (exit == 0) != (want == 200) {
			t.Errorf("healthcheck %s exits %d while the route answers %d", when, exit, want)
		}
	}
	expect("at first", 200)
	r.get(t, "/sethealth/ko")
	expect("after ko", 503)
	r.get(t, "/sethealth/ok")
	expect("after ok", 200)
	r.flips <- syscall.SIGUSR1
	r.waitFor(t, "set healthy: false\n")
	if err := os.WriteFile(marker, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	expect("with a marker", 503)
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	r.get(t, "/sethealth/ok")
	expect("without the marker", 200)
	if status, text := r.get(t, "/?ms=0"); status != 200 || !strings.HasPrefix(text, "v7 ") {
		t.Errorf("a replica answers %d %q, want its version", status, text)
	}
}

func TestAGracefulReplicaFinishesWhatIsInFlight(t *testing.T) {
	r := launch(t, map[string]string{"VERSION": "v1", "GRACE_FOR": "50ms"})
	ws, _, err := websocket.Dial(t.Context(), r.url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	resp, err := http.Get(r.url + "/stream?n=3&ms=50")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r.stop <- syscall.SIGTERM
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(text), "end\n") {
		t.Errorf("stream = %q, %v; want it whole", text, err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("WebSocket ended with %v, want going away", err)
	}
	if exit := <-r.exit; exit != 0 {
		t.Errorf("exit %d, want 0", exit)
	}
	for _, line := range []string{"got terminated, graceful", "grace is over: closing 1 connections", "bye"} {
		if !strings.Contains(r.out.String(), line) {
			t.Errorf("no %q in the log:\n%s", line, r.out)
		}
	}
}

func TestAGracefulReplicaWaitsForWebSocketsThatItsClientsClose(t *testing.T) {
	r := launch(t, map[string]string{"GRACE_FOR": "10m"})
	ws, _, err := websocket.Dial(t.Context(), r.url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.stop <- syscall.SIGTERM
	r.waitFor(t, "got terminated")
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("still there?")); err != nil {
		t.Fatal(err)
	}
	if _, back, err := ws.Read(t.Context()); err != nil || string(back) != "still there?" {
		t.Errorf("echo = %q, %v", back, err)
	}
	if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	if exit := <-r.exit; exit != 0 {
		t.Errorf("exit %d, want 0", exit)
	}
}

func TestWhatAReplicaDoesWithItsStopSignalCanBeChosen(t *testing.T) {
	t.Run("exit leaves at once", func(t *testing.T) {
		r := launch(t, map[string]string{"GRACE": "exit"})
		r.stop <- syscall.SIGTERM
		if exit := <-r.exit; exit != 0 || strings.Contains(r.out.String(), "bye") {
			t.Errorf("exit %d, log %s", exit, r.out)
		}
	})
	t.Run("ignore serves on", func(t *testing.T) {
		r := launch(t, map[string]string{"GRACE": "ignore"})
		r.stop <- syscall.SIGTERM
		r.waitFor(t, "ignore")
		if status, _ := r.get(t, "/?ms=0"); status != 200 {
			t.Errorf("answers %d, want 200", status)
		}
	})
}

func TestABodyIsReadToItsEnd(t *testing.T) {
	r := launch(t, map[string]string{"VERSION": "v1"})
	resp, err := http.Post(r.url+"/echo", "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	want := `{"length":100000,"sha256":"d69e68988157833272305aaf21f453c800346e8a3640db6578e260215542e5d4","version":"v1"}` + "\n"
	if err != nil || string(text) != want {
		t.Errorf("echo = %s, %v; want %s", text, err, want)
	}
}

func TestLinesAreGreetedAndEchoed(t *testing.T) {
	port := freePort(t)
	r := launch(t, map[string]string{"VERSION": "v1", "TCP_PORT": port, "GRACE_FOR": "0s"})
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	r.waitFor(t, "serving on")
	var version, host, line string
	if _, err := fmt.Fscanln(conn, &version, &host); err != nil || version != "v1" {
		t.Errorf("greeting %q %q, %v", version, host, err)
	}
	if _, err := fmt.Fscanln(conn, &line); err != nil || line != "hello" {
		t.Errorf("echo %q, %v", line, err)
	}
	r.stop <- syscall.SIGTERM
	if exit := <-r.exit; exit != 0 {
		t.Errorf("exit %d, want 0", exit)
	}
}

func TestABadVariableIsRefusedWithWhatToWrite(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"GRACE", "maybe", "replica: GRACE=maybe: want graceful, exit, ignore or none\n"},
		{"PORT", "http", "replica: PORT=http: want a port number\n"},
		{"BOOT_DELAY", "5", "replica: BOOT_DELAY=5: want a duration such as 2s\n"},
		{"FAULTS_FROM", "5", "replica: FAULTS_FROM=5: want a number and a path, such as 5:/shared/start\n"},
		{"CRASH", "perhaps", "replica: CRASH=perhaps: want true or false\n"},
	} {
		var out output
		exit := run(t.Context(), nil, func(name string) string {
			if name == c.name {
				return c.value
			}
			return ""
		}, &out, nil, nil)
		if exit != 2 || out.String() != c.want {
			t.Errorf("%s=%s: exit %d, %q; want 2, %q", c.name, c.value, exit, out.String(), c.want)
		}
	}
}

func TestBadVersionsFailAsAsked(t *testing.T) {
	none := make(chan os.Signal)
	env := func(pairs map[string]string) func(string) string {
		return func(name string) string { return pairs[name] }
	}
	if exit := run(t.Context(), nil, env(map[string]string{"CRASH": "1"}), io.Discard, none, none); exit != 3 {
		t.Errorf("CRASH exits %d, want 3", exit)
	}
	if exit := run(t.Context(), nil, env(map[string]string{"DIE_AFTER": "1ms", "PORT": freePort(t)}), io.Discard, none, none); exit != 1 {
		t.Errorf("DIE_AFTER exits %d, want 1", exit)
	}
	r := launch(t, map[string]string{"NEVER_HEALTHY": "true"})
	if status, _ := r.get(t, "/health"); status != 503 {
		t.Errorf("NEVER_HEALTHY answers %d, want 503", status)
	}
	r = launch(t, map[string]string{"SICK_AFTER": "1ms"})
	r.waitFor(t, "set healthy: false")
	if status, _ := r.get(t, "/health"); status != 503 {
		t.Errorf("SICK_AFTER answers %d, want 503", status)
	}
	if status, _ := r.get(t, "/"); status != 200 {
		t.Errorf("SICK_AFTER does not serve on: %d", status)
	}
}

func TestFaultsCanBeginWithALaterStart(t *testing.T) {
	counted := filepath.Join(t.TempDir(), "start")
	for i, want := range []int{1, 1, 3, 3} {
		var out output
		env := map[string]string{"FAULTS_FROM": "3:" + counted, "CRASH": "true", "PORT": "0", "TCP_PORT": "65535"}
		// The earlier ones go on and find their port taken.
		taken, err := net.Listen("tcp", ":65535")
		if err != nil {
			t.Fatal(err)
		}
		exit := run(t.Context(), nil, func(name string) string { return env[name] }, &out, nil, nil)
		_ = taken.Close()
		if exit != want {
			t.Errorf("start %d exits %d, want %d:\n%s", i+1, exit, want, out.String())
		}
	}
}

func TestAWorkerBeatsWhileItIsHealthyAndFinishesItsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heart := filepath.Join(t.TempDir(), "heartbeat")
		stop, flips := make(chan os.Signal, 1), make(chan os.Signal)
		var out output
		exit := make(chan int, 1)
		go func() {
			exit <- run(t.Context(), []string{"worker"}, func(name string) string {
				return map[string]string{"HEARTBEAT": heart}[name]
			}, &out, stop, flips)
		}()
		there := func() bool { _, err := os.Stat(heart); return err == nil }
		synctest.Wait()
		if !there() {
			t.Error("no heartbeat at the start")
		}
		flips <- syscall.SIGUSR1
		<-time.After(1500 * time.Millisecond)
		if there() {
			t.Error("a flipped worker still beats")
		}
		stop <- syscall.SIGTERM
		if code := <-exit; code != 0 {
			t.Errorf("exit %d, want 0", code)
		}
		if n := strings.Count(out.String(), "done"); n != 2 {
			t.Errorf("%d jobs done, want the second to be finished:\n%s", n, out.String())
		}
		close(flips)
	})
}
