package probe

import (
	"net/http"
	"testing"
	"time"
)

func TestValidateSaysWhatIsWrongAndWhatToWrite(t *testing.T) {
	const url = "http://localhost:8080/"
	for _, test := range []struct {
		name   string
		config Config
		want   string // empty: valid
	}{
		{"a URL alone is enough", Config{URL: url}, ""},
		{"https is fine", Config{URL: "https://[::1]:8443/x?y=1"}, ""},
		{"every field may be given", Config{
			URL: url, Method: "POST", Header: http.Header{"X-One": {"1"}}, Host: "shop.example.com", Body: []byte("x"),
			Rate: 1, Timeout: time.Second, Duration: time.Second, NoKeepAlive: true, MaxWorkers: 1, Expect: []int{200, 401},
		}, ""},
		{"no URL", Config{}, "no URL to probe: give one, like http://localhost:8080/"},
		{"a port taken for a scheme", Config{URL: "localhost:8080/x"}, `probe URL "localhost:8080/x" has no scheme: write http://localhost:8080/x`},
		{"an address without scheme", Config{URL: "127.0.0.1:80"}, `probe URL "127.0.0.1:80" has no scheme: write http://127.0.0.1:80`},
		{"another scheme", Config{URL: "ftp://u:secret@x/"}, `probe URL "ftp://u:xxxxx@x/": scheme ftp cannot be probed: write http:// or https://`},
		{"no host", Config{URL: "http:///x"}, `probe URL "http:///x" has no host: write one like http://localhost:8080/`},
		{"a port that is no number", Config{URL: "http://a:b/"}, `read probe URL: parse "http://a:b/": invalid port ":b" after host: write one like http://localhost:8080/`},
		{"method in lower case", Config{URL: url, Method: "get"}, `method "get": methods are case-sensitive: write GET`},
		{"method of two words", Config{URL: url, Method: "GET X"}, `method "GET X" is not a word that HTTP allows: write GET, POST or the like`},
		{"CONNECT", Config{URL: url, Method: "CONNECT"}, `method CONNECT cannot be probed: write GET, HEAD, POST or the like`},
		{"header name with a colon", Config{URL: url, Header: http.Header{"X:": {"1"}}}, `header name "X:" is not a word that HTTP allows: write it as Name: value`},
		{"header value with a line break", Config{URL: url, Header: http.Header{"X": {"1\n2"}}}, `header X: value "1\n2" holds a control character: remove it`},
		{"host that is none", Config{URL: url, Host: "a b"}, `host "a b" is not a host name: write one like shop.example.com`},
		{"negative rate", Config{URL: url, Rate: -1}, "rate -1: must be at least 1 request a second"},
		{"negative timeout", Config{URL: url, Timeout: -time.Second}, "timeout -1s: must be more than 0, like 30s"},
		{"negative duration", Config{URL: url, Duration: -time.Second}, "duration -1s: must be more than 0, like 1m, or left out to run until it is stopped"},
		{"negative max workers", Config{URL: url, MaxWorkers: -1}, "max workers -1: must be at least 1"},
		{"a status that is none", Config{URL: url, Expect: []int{200, 20}}, "expected status 20: must be from 200 to 599, like 200 or 401"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.config.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if _, err := New(test.config); (err != nil) != (test.want != "") {
				t.Errorf("New disagrees: %v", err)
			}
		})
	}
}

func TestZeroFieldsStandForTheDefaults(t *testing.T) {
	c := Config{URL: "http://localhost/", Header: http.Header{"Host": {"shop.example.com"}}}.withDefaults()
	if c.Method != "GET" || c.Rate != 50 || c.Timeout != 30*time.Second || c.MaxWorkers != 10000 || c.Host != "shop.example.com" {
		t.Errorf("got %+v", c)
	}
	if c := (Config{Body: []byte("x")}).withDefaults(); c.Method != "POST" {
		t.Errorf("with a body: got method %s, want POST", c.Method)
	}
}
