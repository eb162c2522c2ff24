package healthflip

import (
	"context"
	"path"
	"strings"
	"unicode"
)

// way is one parsed way to flip a replica and back.
type way interface {
	text() string
	flip(context.Context, *Flipper, replica) error
	unflip(context.Context, *Flipper, replica) error
}

// Way says how a replica with these labels is flipped, in a few words for a
// plan: "http GET /sethealth/ko on port 3000", "file /tmp/drain", "init". It is
// "" when the labels name no way. entrypoint is what PID 1 was started as: a
// base name of roll-init is a way without any label, and a label goes before
// it. Every error is a [LabelError].
func Way(labels map[string]string, entrypoint []string) (string, error) {
	w, err := parse(labels, entrypoint)
	if err != nil || w == nil {
		return "", err
	}
	return w.text(), nil
}

// parse returns nil when there is no way.
func parse(labels map[string]string, entrypoint []string) (way, error) {
	label, err := chosen(labels)
	if err != nil {
		return nil, err
	}
	switch label {
	case labelHTTP:
		return parseHTTP(labels)
	case labelExec:
		return parseExec(labels)
	case labelFile:
		return parseFile(labels[labelFile])
	case labelSignal:
		return parseSignals(labels)
	case labelFlip:
		switch labels[labelFlip] {
		case "init":
			return initWay{initPath(entrypoint)}, nil
		case "none":
			return noneWay{}, nil
		}
		return nil, LabelError{labelFlip, labels[labelFlip], "it must be init or none",
			"roll.flip: init, roll.flip: none, or one of roll.flip.http, roll.flip.exec, roll.flip.file, roll.flip.signal"}
	}
	if isInit(entrypoint) {
		return initWay{entrypoint[0]}, nil
	}
	return nil, nil
}

// initWay runs roll-init a second time inside the replica: it tells the one
// that is PID 1.
type initWay struct{ path string }

func isInit(entrypoint []string) bool {
	return len(entrypoint) > 0 && path.Base(entrypoint[0]) == "roll-init"
}

func initPath(entrypoint []string) string {
	if isInit(entrypoint) {
		return entrypoint[0]
	}
	return "/roll-init"
}

func (w initWay) text() string { return "init" }

func (w initWay) flip(ctx context.Context, f *Flipper, r replica) error {
	return f.mustRun(ctx, r, []string{w.path, "flip"})
}

func (w initWay) unflip(ctx context.Context, f *Flipper, r replica) error {
	return f.mustRun(ctx, r, []string{w.path, "unflip"})
}

// noneWay does nothing: the service's owner accepts lost requests.
type noneWay struct{}

func (noneWay) text() string                                    { return "none" }
func (noneWay) flip(context.Context, *Flipper, replica) error   { return nil }
func (noneWay) unflip(context.Context, *Flipper, replica) error { return nil }

// oneLine keeps a program's output or a response body fit for an error text,
// and for the terminal that shows it.
func oneLine(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit]) + "..."
	}
	return text
}
