package healthflip

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestWaySaysHowAReplicaIsFlipped(t *testing.T) {
	for _, test := range []struct {
		name       string
		labels     map[string]string
		entrypoint []string
		want       string
	}{
		{name: "no label", labels: map[string]string{"traefik.enable": "true", "roll.drain": "5s"}, want: ""},
		{name: "http with its own port", labels: map[string]string{"roll.flip.http": "/sethealth/ko", "roll.unflip.http": "/sethealth/ok", "roll.flip.port": "3000"},
			want: "http GET /sethealth/ko on port 3000"},
		{name: "http method in any case", labels: map[string]string{"roll.flip.http": "/ko?by=roll", "roll.unflip.http": "/ok", "roll.flip.method": "post"},
			want: "http POST /ko?by=roll on the exposed port"},
		{name: "http with Traefik's port", labels: map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "Traefik.HTTP.services.web.loadBalancer.server.port": "8080"},
			want: "http GET /ko on port 8080"},
		{name: "http with one port in two Traefik services", labels: map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok",
			"traefik.http.services.a.loadbalancer.server.port": "8080", "traefik.http.services.b.loadbalancer.server.port": "8080"},
			want: "http GET /ko on port 8080"},
		{name: "http with two Traefik ports", labels: map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok",
			"traefik.http.services.a.loadbalancer.server.port": "8080", "traefik.http.services.b.loadbalancer.server.port": "8081"},
			want: "http GET /ko on the exposed port"},
		{name: "its own port goes before Traefik's", labels: map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "roll.flip.port": "9000",
			"traefik.http.services.a.loadbalancer.server.port": "8080"},
			want: "http GET /ko on port 9000"},
		{name: "exec", labels: map[string]string{"roll.flip.exec": "touch /tmp/drain", "roll.unflip.exec": "rm -f /tmp/drain"},
			want: "exec touch /tmp/drain"},
		{name: "exec with a shell that the label writes", labels: map[string]string{"roll.flip.exec": `sh -c "touch /tmp/a && touch /tmp/b"`, "roll.unflip.exec": "rm /tmp/a /tmp/b"},
			want: `exec sh -c 'touch /tmp/a && touch /tmp/b'`},
		{name: "exec as a JSON array", labels: map[string]string{"roll.flip.exec": `["touch", "/tmp/a b"]`, "roll.unflip.exec": `["rm", "/tmp/a b"]`},
			want: `exec touch '/tmp/a b'`},
		{name: "exec with a line break", labels: map[string]string{"roll.flip.exec": "[\"sh\", \"-c\", \"a\\nb\"]", "roll.unflip.exec": "b"},
			want: `exec "sh -c 'a\nb'"`},
		{name: "exec of a bare pipe as a JSON array", labels: map[string]string{"roll.flip.exec": `["echo", "|"]`, "roll.unflip.exec": "b"},
			want: `exec echo \|`},
		{name: "file", labels: map[string]string{"roll.flip.file": "/tmp/drain"}, want: "file /tmp/drain"},
		{name: "signal by name", labels: map[string]string{"roll.flip.signal": "usr1", "roll.unflip.signal": "SIGUSR2"}, want: "signal SIGUSR1"},
		{name: "signal by number", labels: map[string]string{"roll.flip.signal": "10", "roll.unflip.signal": "12"}, want: "signal SIGUSR1"},
		{name: "real-time signal", labels: map[string]string{"roll.flip.signal": "SIGRTMIN+3", "roll.unflip.signal": "RTMAX"}, want: "signal SIGRTMIN+3"},
		{name: "real-time signal by number", labels: map[string]string{"roll.flip.signal": "40", "roll.unflip.signal": "RTMAX-1"}, want: "signal 40"},
		{name: "init", labels: map[string]string{"roll.flip": "init"}, want: "init"},
		{name: "roll-init in front", entrypoint: []string{"/usr/local/bin/roll-init", "--", "node", "server.js"}, want: "init"},
		{name: "a label goes before roll-init", labels: map[string]string{"roll.flip.file": "/drain"}, entrypoint: []string{"/roll-init"}, want: "file /drain"},
		{name: "none goes before roll-init", labels: map[string]string{"roll.flip": "none"}, entrypoint: []string{"/roll-init"}, want: "none"},
		{name: "another init", entrypoint: []string{"/sbin/tini", "/roll-init"}, want: ""},
		{name: "none", labels: map[string]string{"roll.flip": "none"}, want: "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&Flipper{}).Way(test.labels, test.entrypoint)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestWayRefusesLabelsThatCannotBeUsed(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels map[string]string
		want   string
	}{
		{"two ways", map[string]string{"roll.flip.http": "/ko", "roll.flip.exec": "touch /tmp/drain"},
			`label roll.flip.http: "/ko": it stands beside roll.flip.exec, and a replica has exactly one way to flip; instead: keep one of them`},
		{"three ways", map[string]string{"roll.flip.http": "/ko", "roll.flip.exec": "touch /tmp/drain", "roll.flip.file": "/drain"},
			`label roll.flip.http: "/ko": it stands beside roll.flip.exec and roll.flip.file, and a replica has exactly one way to flip; instead: keep one of them`},
		{"none and a way", map[string]string{"roll.flip": "none", "roll.flip.file": "/drain"},
			`label roll.flip.file: "/drain": it stands beside roll.flip, and a replica has exactly one way to flip; instead: keep one of them`},
		{"an unknown way", map[string]string{"roll.flip": "http"},
			`label roll.flip: "http": it must be init or none; instead: roll.flip: init, roll.flip: none, or one of roll.flip.http, roll.flip.exec, roll.flip.file, roll.flip.signal`},
		{"an un-flip of another way", map[string]string{"roll.flip.file": "/drain", "roll.unflip.exec": "rm /drain"},
			`label roll.unflip.exec: "rm /drain": it belongs to roll.flip.exec, which is not set; instead: set roll.flip.exec, or remove this label`},
		{"an un-flip alone", map[string]string{"roll.unflip.http": "/ok"},
			`label roll.unflip.http: "/ok": it belongs to roll.flip.http, which is not set; instead: set roll.flip.http, or remove this label`},
		{"a port for exec", map[string]string{"roll.flip.exec": "a", "roll.unflip.exec": "b", "roll.flip.port": "1"},
			`label roll.flip.port: "1": it belongs to roll.flip.http, which is not set; instead: set roll.flip.http, or remove this label`},
		{"http without un-flip", map[string]string{"roll.flip.http": "/ko"},
			`label roll.unflip.http: it is missing, so the flip could not be undone; instead: roll.unflip.http: /sethealth/ok`},
		{"exec without un-flip", map[string]string{"roll.flip.exec": "touch /tmp/drain"},
			`label roll.unflip.exec: it is missing, so the flip could not be undone; instead: roll.unflip.exec: rm -f /tmp/drain`},
		{"signal without un-flip", map[string]string{"roll.flip.signal": "SIGUSR1"},
			`label roll.unflip.signal: it is missing, so the flip could not be undone; instead: roll.unflip.signal: SIGUSR2`},
		{"an empty path", map[string]string{"roll.flip.http": "", "roll.unflip.http": "/ok"},
			`label roll.flip.http: it is empty; instead: roll.flip.http: /sethealth/ko`},
		{"an empty un-flip", map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": " "},
			`label roll.unflip.http: " ": it is empty, so the flip could not be undone; instead: roll.unflip.http: /sethealth/ok`},
		{"a path without a slash", map[string]string{"roll.flip.http": "ko", "roll.unflip.http": "/ok"},
			`label roll.flip.http: "ko": the path must begin with a slash; instead: roll.flip.http: /ko`},
		{"a URL", map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "http://localhost:3000/ok?a=b"},
			`label roll.unflip.http: "http://localhost:3000/ok?a=b": it must be a path: the replica's address is known; instead: roll.unflip.http: /ok?a=b`},
		{"a path with a blank", map[string]string{"roll.flip.http": "/set health", "roll.unflip.http": "/ok"},
			`label roll.flip.http: "/set health": it has a blank or a control character; instead: roll.flip.http: the path with %20 for a blank`},
		{"a path with a fragment", map[string]string{"roll.flip.http": "/ko#now", "roll.unflip.http": "/ok"},
			`label roll.flip.http: "/ko#now": a fragment is never sent to a server; instead: roll.flip.http: /ko`},
		{"a path with a broken escape", map[string]string{"roll.flip.http": "/ko%zz", "roll.unflip.http": "/ok"},
			`label roll.flip.http: "/ko%zz": it is no valid path; instead: roll.flip.http: /sethealth/ko`},
		{"a method of WebDAV", map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "roll.flip.method": "MKCOL"},
			`label roll.flip.method: "MKCOL": it must be one of GET, HEAD, POST, PUT, PATCH, DELETE; instead: roll.flip.method: POST`},
		{"a port that is no number", map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "roll.flip.port": "http"},
			`label roll.flip.port: "http": it must be a number from 1 to 65535; instead: roll.flip.port: 3000`},
		{"port 0", map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "roll.flip.port": "0"},
			`label roll.flip.port: "0": it must be a number from 1 to 65535; instead: roll.flip.port: 3000`},
		{"a port that is too high", map[string]string{"roll.flip.http": "/ko", "roll.unflip.http": "/ok", "traefik.http.services.web.loadbalancer.server.port": "65536"},
			`label traefik.http.services.web.loadbalancer.server.port: "65536": it must be a number from 1 to 65535; instead: traefik.http.services.web.loadbalancer.server.port: 3000`},
		{"an open quote", map[string]string{"roll.flip.exec": `sh -c "touch`, "roll.unflip.exec": "b"},
			`label roll.flip.exec: "sh -c \"touch": a quote is not closed; instead: roll.flip.exec: the command with its quotes in pairs`},
		{"a broken array", map[string]string{"roll.flip.exec": `["touch", 1]`, "roll.unflip.exec": "b"},
			`label roll.flip.exec: "[\"touch\", 1]": it is no JSON array of strings; instead: roll.flip.exec: ["touch", "/tmp/drain"]`},
		{"an empty array", map[string]string{"roll.flip.exec": "a", "roll.unflip.exec": "[]"},
			`label roll.unflip.exec: "[]": it names no program; instead: roll.unflip.exec: touch /tmp/drain`},
		{"shell syntax without a shell", map[string]string{"roll.flip.exec": "touch /tmp/drain && sync", "roll.unflip.exec": "b"},
			`label roll.flip.exec: "touch /tmp/drain && sync": no shell runs it, so && would be an argument; instead: roll.flip.exec: sh -c 'touch /tmp/drain && sync'`},
		{"a relative marker", map[string]string{"roll.flip.file": "tmp/drain"},
			`label roll.flip.file: "tmp/drain": the path is relative, and the Engine has no working directory; instead: roll.flip.file: /tmp/drain`},
		{"a marker with dots", map[string]string{"roll.flip.file": "/tmp/../drain"},
			`label roll.flip.file: "/tmp/../drain": the path is not in its shortest form; instead: roll.flip.file: /drain`},
		{"a directory as marker", map[string]string{"roll.flip.file": "/"},
			`label roll.flip.file: "/": it is a directory; instead: roll.flip.file: /tmp/drain`},
		{"an empty marker", map[string]string{"roll.flip.file": ""},
			`label roll.flip.file: it is empty; instead: roll.flip.file: /tmp/drain`},
		{"a marker of two lines", map[string]string{"roll.flip.file": "/tmp/a\nb"},
			`label roll.flip.file: "/tmp/a\nb": it has a control character; instead: roll.flip.file: /tmp/drain`},
		{"an unknown signal", map[string]string{"roll.flip.signal": "SIGFOO", "roll.unflip.signal": "SIGUSR2"},
			`label roll.flip.signal: "SIGFOO": no such signal on Linux; instead: roll.flip.signal: SIGUSR1`},
		{"signal 0", map[string]string{"roll.flip.signal": "SIGUSR1", "roll.unflip.signal": "0"},
			`label roll.unflip.signal: "0": no such signal on Linux; instead: roll.unflip.signal: SIGUSR2`},
		{"signal 65", map[string]string{"roll.flip.signal": "65", "roll.unflip.signal": "SIGUSR2"},
			`label roll.flip.signal: "65": no such signal on Linux; instead: roll.flip.signal: SIGUSR1`},
		{"a signal that ends the replica", map[string]string{"roll.flip.signal": "SIGKILL", "roll.unflip.signal": "SIGUSR2"},
			`label roll.flip.signal: "SIGKILL": no program can catch it: it would end or freeze the replica; instead: roll.flip.signal: SIGUSR1`},
		{"a real-time signal too far", map[string]string{"roll.flip.signal": "SIGRTMIN+31", "roll.unflip.signal": "SIGUSR2"},
			`label roll.flip.signal: "SIGRTMIN+31": real-time signals are SIGRTMIN to SIGRTMIN+30; instead: roll.flip.signal: SIGUSR1`},
		{"a real-time signal with the wrong sign", map[string]string{"roll.flip.signal": "RTMAX+1", "roll.unflip.signal": "SIGUSR2"},
			`label roll.flip.signal: "RTMAX+1": real-time signals are SIGRTMAX-30 to SIGRTMAX; instead: roll.flip.signal: SIGUSR1`},
		{"a toggle", map[string]string{"roll.flip.signal": "SIGUSR1", "roll.unflip.signal": "10"},
			`label roll.unflip.signal: "10": it is the signal of roll.flip.signal, and nobody could tell which way a repeated one turns the replica; instead: a signal of its own, such as roll.unflip.signal: SIGUSR2`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Way(test.labels, nil)
			if got != "" {
				t.Errorf("a way in spite of the error: %q", got)
			}
			checkError(t, err, test.want)
			if problem := (LabelError{}); !errors.As(err, &problem) || problem.Value != test.labels[problem.Label] {
				t.Errorf("not a LabelError with the label's own value: %#v", err)
			}
		})
	}
}

func TestLabelsAreSortedAndTheCallersOwn(t *testing.T) {
	want := "roll.flip roll.flip.exec roll.flip.file roll.flip.http roll.flip.method roll.flip.port roll.flip.signal roll.unflip.exec roll.unflip.http roll.unflip.signal"
	names := Labels()
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s", got)
	}
	slices.Reverse(names)
	if got := strings.Join(Labels(), " "); got != want {
		t.Errorf("after a caller changed its copy: %s", got)
	}
}

func FuzzWay(f *testing.F) {
	f.Add(uint16(0b0000000110), "", "/ko", "/ok", "3000", "GET", "", "", "", "", "")
	f.Add(uint16(0b0001100000), "", "", "", "", "", `["a"]`, "b 'c'", "", "", "")
	f.Add(uint16(0b0010000000), "", "", "", "", "", "", "", "/tmp/drain", "", "")
	f.Add(uint16(0b1100000000), "", "", "", "", "", "", "", "", "RTMIN+1", "12")
	f.Add(uint16(1), "init", "", "", "", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, set uint16, flip, http, unhttp, port, method, exec, unexec, file, sig, unsig string) {
		labels := map[string]string{}
		names := []string{labelFlip, labelHTTP, labelUnflipHTTP, labelPort, labelMethod, labelExec, labelUnflipExec, labelFile, labelSignal, labelUnflipSignal}
		for i, value := range []string{flip, http, unhttp, port, method, exec, unexec, file, sig, unsig} {
			if set&(1<<i) != 0 {
				labels[names[i]] = value
			}
		}
		text, err := Way(labels, nil)
		again, errAgain := Way(labels, nil)
		if text != again || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
			t.Fatalf("two answers: %q %v, %q %v", text, err, again, errAgain)
		}
		if err != nil {
			problem := LabelError{}
			if !errors.As(err, &problem) || problem.Label == "" || problem.Problem == "" || problem.Instead == "" {
				t.Fatalf("not a whole LabelError: %#v", err)
			}
			return
		}
		if (text == "") != (len(labels) == 0) {
			t.Fatalf("way %q for %d labels", text, len(labels))
		}
		if strings.ContainsAny(text, "\n\r\x00") {
			t.Fatalf("the way is more than a line: %q", text)
		}
		for flip, unflip := range map[string]string{labelHTTP: labelUnflipHTTP, labelExec: labelUnflipExec, labelSignal: labelUnflipSignal} {
			if _, on := labels[flip]; on && labels[unflip] == "" {
				t.Fatalf("%q without a way back", text)
			}
		}
		if err := Check(labels, false, nil); err != nil && labels[labelFile] == "" {
			t.Fatalf("a refused marker without a marker: %v", err)
		}
	})
}
