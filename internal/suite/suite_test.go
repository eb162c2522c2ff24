package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

const unitRun = `{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"hidden\n"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"p","Test":"TestBad/one","Output":"why it failed\n"}
{"Action":"fail","Package":"p","Test":"TestBad/one"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"Action":"skip","Package":"q","Test":"TestOld"}
{"Action":"pass","Package":"q","Elapsed":0.2}
{"Action":"skip","Package":"notests"}
{"ImportPath":"broken","Action":"build-output","Output":"x.go:1: syntax error\n"}
{"ImportPath":"broken","Action":"build-fail"}
{"Action":"fail","Package":"broken","Elapsed":0,"FailedBuild":"broken"}
go: warning: something
`

func TestCountsSumUpTestsAndBrokenPackages(t *testing.T) {
	var c counts
	var out strings.Builder
	if err := c.read(strings.NewReader(unitRun), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := c.String(), "1 passed, 3 failed, 1 skipped"; got != want {
		t.Errorf("counts = %q, want %q", got, want)
	}
	if got, want := strings.Join(c.failed(), ", "), "broken, p TestBad, p TestBad/one"; got != want {
		t.Errorf("failed = %s, want %s", got, want)
	}
	want := "why it failed\nFAIL  p 1.5s\nok    q 0.2s\nx.go:1: syntax error\nFAIL  broken 0.0s\ngo: warning: something\n"
	if out.String() != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestATestThatATimeLimitCutOffFailsAndIsShown(t *testing.T) {
	const run = `{"Action":"run","Package":"p","Test":"TestHangs"}
{"Action":"output","Package":"p","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\n"}
{"Action":"fail","Package":"p","Elapsed":60}
`
	var c counts
	var out strings.Builder
	if err := c.read(strings.NewReader(run), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "FAIL\tp\npanic: test timed out\nCUT OFF p TestHangs\nFAIL  p 60.0s\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	if got, want := c.String(), "0 passed, 1 failed"; got != want {
		t.Errorf("counts = %q, want %q", got, want)
	}
}

func TestATestThatRanTwiceCountsOnceAndAFailureStays(t *testing.T) {
	var c counts
	for _, run := range []string{
		`{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestB"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestB"}`,
	} {
		if err := c.read(strings.NewReader(run), io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := c.String(), "1 passed, 1 failed"; got != want {
		t.Errorf("counts = %q, want %q", got, want)
	}
	c.where = "engine 28.5:"
	if err := c.read(strings.NewReader(`{"Action":"pass","Package":"p","Test":"TestA"}`), io.Discard); err != nil {
		t.Fatal(err)
	}
	if got, want := c.String(), "2 passed, 1 failed"; got != want {
		t.Errorf("counts on another engine too = %q, want %q", got, want)
	}
}

func TestTheCountsAreTheLastLineAlsoAfterAnError(t *testing.T) {
	var out strings.Builder
	s := &suite{out: &out, tests: counts{results: map[string]string{"p TestA": "pass", "p TestB": "fail"}}}
	if err := s.conclude(errors.New("lint: gofmt")); err == nil {
		t.Error("no error")
	}
	if want := "FAILED p TestB\nlint: gofmt\n1 passed, 1 failed\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

func TestAnUnknownCommandIsRefused(t *testing.T) {
	s := &suite{out: io.Discard}
	if err := s.run(context.Background(), []string{"tset"}); err == nil || !strings.Contains(err.Error(), `"tset"`) {
		t.Errorf("error = %v, want one that names tset", err)
	}
}
