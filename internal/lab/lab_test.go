package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// syncBuffer is a buffer that a program writes while a test reads.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestAVersionIsFoundInWhatProgramsPrint(t *testing.T) {
	for text, want := range map[string]string{
		"Docker version 20.10.24+dfsg1, build 5d6db84": "20.10.24",
		"2.40.3-3\n":                    "2.40.3",
		"v2.40.3":                       "2.40.3",
		"docker-compose version 1.29.2": "1.29.2",
		"unknown flag: --short":         "",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("versionIn(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestVersionsAreComparedByNumberNotByText(t *testing.T) {
	for _, c := range []struct {
		got, want string
		ok        bool
	}{
		{"2.40.3", "2.20", true}, {"2.20", "2.20", true}, {"2.20.0", "2.20", true}, {"2.9.9", "2.20", false},
		{"1.29.2", "2.20", false}, {"5.0.0", "2.20", true}, {"", "2.20", false}, {"29.1", "28.5", true},
	} {
		if ok := versionAtLeast(c.got, c.want); ok != c.ok {
			t.Errorf("versionAtLeast(%q, %q) = %t, want %t", c.got, c.want, ok, c.ok)
		}
	}
}

func TestTheDebianMirrorIsTheOneThatTheMachineUses(t *testing.T) {
	for _, c := range []struct{ name, targets, want string }{
		{"security and other vendors' sources are passed over", "https://vendor.example/apt main\nhttp://m.example/debian-security main\nhttp://m.example/debian main\n", "http://m.example/debian"},
		{"a trailing slash is no obstacle", "http://m.example/debian/ main\n", "http://m.example/debian/"},
		{"without a Debian source there is none", "https://vendor.example/apt main\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := mirrorOf(c.targets); got != c.want {
				t.Errorf("mirrorOf = %q, want %q", got, c.want)
			}
		})
	}
}

func TestOnlyNamesThatTheLabGaveBelongToIt(t *testing.T) {
	for name, want := range map[string]string{
		"/rollt-4711-0a1b2c3d-web-1":       "rollt-4711-0a1b2c3d",
		"rollt-4711-0a1b2c3d_default":      "rollt-4711-0a1b2c3d",
		"roll-lease-rollt-4711-0a1b2c3d":   "rollt-4711-0a1b2c3d",
		"/rollt-web-1":                     "",
		"/controllt-4711-0a1b2c3d-web-1":   "",
		"/shop-web-1":                      "",
		"bridge":                           "",
		"/0123456789ab_rollt-7-00000000-a": "rollt-7-00000000",
	} {
		if got, _, _ := ownerOf(name); got != want {
			t.Errorf("ownerOf(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestAProcessThatEndedIsNotAliveEvenBeforeItIsReaped(t *testing.T) {
	if !alive(os.Getpid()) {
		t.Error("this process is not alive")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^$")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := poll(t.Context(), "the child to end", time.Minute, 5*time.Millisecond, func(context.Context) (bool, string, error) {
		return !alive(cmd.Process.Pid), "alive", nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if alive(cmd.Process.Pid) {
		t.Error("a reaped process is alive")
	}
}

func TestAStaleRecordOfAnEngineIsRecognised(t *testing.T) {
	s := state(t.TempDir())
	if _, ok := s.running(); ok {
		t.Error("an engine runs in an empty folder")
	}
	if err := os.MkdirAll(s.path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The pid is alive, but is this test: the number was given away again.
	record := fmt.Sprintf(`{"pid":%d,"version":"20.10.24"}`, os.Getpid())
	if err := os.WriteFile(s.path("run", "engine.json"), []byte(record), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.running(); ok {
		t.Error("another program's pid counts as the engine")
	}
	if err := s.clearRun(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path("run")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the run folder is still there (%v)", err)
	}
}

func TestABinaryIsBuiltOnceByManyAtTheSameTime(t *testing.T) {
	s := state(t.TempDir())
	path := s.path("big", "program")
	var built atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			err := s.build(t.Context(), path, func(tmp string) error {
				built.Add(1)
				return os.WriteFile(tmp, []byte("program"), 0o755)
			})
			if err != nil {
				t.Error(err)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "program" {
				t.Errorf("read %q, %v", text, err)
			}
		})
	}
	group.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
}

func TestABuildThatFailedLeavesNothingThatLooksComplete(t *testing.T) {
	s := state(t.TempDir())
	path := s.path("big", "program")
	broken := errors.New("compiler fell over")
	err := s.build(t.Context(), path, func(tmp string) error {
		return errors.Join(os.WriteFile(tmp, []byte("half"), 0o755), broken)
	})
	if !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
	if found, err := filepath.Glob(s.path("big", "*")); err != nil || len(found) > 0 {
		t.Errorf("left %v, %v", found, err)
	}
}

func TestAFolderTooDeepForASocketIsRefusedWithTheReason(t *testing.T) {
	t.Setenv("ROLL_LAB_DIR", "/"+strings.Repeat("deep/", 20))
	_, err := openState()
	if err == nil || !strings.Contains(err.Error(), "ROLL_LAB_DIR") {
		t.Errorf("error = %v, want one that names ROLL_LAB_DIR", err)
	}
}

func TestPollSaysWhatWasAwaitedForHowLongAndWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := poll(t.Context(), "rain", 3*time.Second, time.Second, func(context.Context) (bool, string, error) { return false, "sun", nil })
		if want := "wait for rain: not after 3s; last seen: sun"; err == nil || err.Error() != want {
			t.Errorf("error = %v, want %q", err, want)
		}
	})
}

func TestProgressShowsLongStepsWhileTheyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out syncBuffer
		p := &progress{w: &out}
		err := p.step("build", func() error {
			<-time.After(25 * time.Second)
			return nil
		})
		want := "lab: build ...\nlab: build ... 10s\nlab: build ... 20s\nlab: build: done in 25s\n"
		if err != nil || out.String() != want {
			t.Errorf("wrote %q, %v; want %q", out.String(), err, want)
		}
	})
}

func TestAnImageHoldsItsProgramsAndAFolderForTemporaryFiles(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(binary, []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("ELF2"), 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := writeImage(&archive, binary, other); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %d", h.Name, h.Mode, h.Size))
	}
	if want := "tmp/ 1777 0, program 755 3, other 755 4"; strings.Join(got, ", ") != want {
		t.Errorf("image = %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestAnErrorInsideTheEnginesAnswerIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		`{"status":"Pulling"}` + "\n" + `{"error":"manifest unknown"}`: "manifest unknown",
		`{"status":"sha256:1"}`: "<nil>",
		`{"status":`:            "unexpected EOF",
	} {
		if got := fmt.Sprint(readStream(strings.NewReader(text), func() {})); got != want {
			t.Errorf("readStream(%q) = %s, want %s", text, got, want)
		}
	}
}
