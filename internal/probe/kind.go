package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// The kinds of failure that have no status. An answer with a bad status is of
// the kind "status 502"; what fits nowhere is "other: " and the error.
const (
	KindRefused   = "refused"   // nobody listens there
	KindReset     = "reset"     // the peer threw the connection away
	KindClosed    = "closed"    // the peer ended the connection before an answer came
	KindTruncated = "truncated" // the answer began and its end never came
	KindTimeout   = "timeout"   // no complete answer within Config.Timeout
	KindNoRoute   = "no route"  // no way to the address from here
	KindDNS       = "dns"       // the name has no address
	KindTLS       = "tls"       // no agreement on a secure connection
	KindCanceled  = "canceled"  // this side gave up (HoldRequests alone)
)

// maxKindText bounds the error text inside an "other: " kind.
const maxKindText = 100

func kindOf(err error) string {
	var (
		dns    *net.DNSError
		netErr net.Error
		text   = err.Error()
	)
	switch {
	case errors.As(err, &dns):
		return KindDNS
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return KindTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED):
		return KindReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return KindNoRoute
	case isTLS(err, text):
		return KindTLS
	case errors.Is(err, io.ErrUnexpectedEOF):
		return KindTruncated
	// net/http does not export the second one.
	case errors.Is(err, io.EOF), strings.Contains(text, "server closed idle connection"):
		return KindClosed
	}

	other := innermost(err).Error()
	if len(other) > maxKindText {
		other = strings.ToValidUTF8(other[:maxKindText], "") + "..."
	}
	return "other: " + other
}

// isTLS also reads the text: crypto/tls and net/http make most of these errors
// without a type.
func isTLS(err error, text string) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) ||
		strings.Contains(text, "tls: ") || strings.Contains(text, "HTTP response to HTTPS client")
}
