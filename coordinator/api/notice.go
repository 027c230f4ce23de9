package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tranship/tranship/internal/work"
)

// DeliveryList is a page of deliveries.
type DeliveryList struct {
	Deliveries []work.Delivery `json:"deliveries"`
	Next       string          `json:"next,omitempty"`
}

// ReceiverList is who is told what has happened.
type ReceiverList struct {
	Receivers []work.Receiver `json:"receivers"`
}

// Deliveries returns a page of deliveries, newest first.
func (c *Client) Deliveries(ctx context.Context, q work.DeliveryQuery) (DeliveryList, error) {
	v := Page{q.Cursor, q.Limit}.into(url.Values{})
	setText(v, "receiver", q.Receiver)
	setText(v, "state", string(q.State))
	var l DeliveryList
	err := c.get(ctx, "list the deliveries", "/v1/deliveries", v, &l)
	return l, err
}

// Resend has a delivery tried again, whatever became of it.
func (c *Client) Resend(ctx context.Context, id work.DeliveryID) (work.Delivery, error) {
	n := strconv.FormatInt(int64(id), 10)
	var d work.Delivery
	_, err := c.do(ctx, call{doing: "send delivery " + n + " again", method: http.MethodPost, path: "/v1/deliveries/" + n + "/resend", repeat: true}, &d)
	return d, err
}

// Receivers returns who is told what has happened.
func (c *Client) Receivers(ctx context.Context) ([]work.Receiver, error) {
	var l ReceiverList
	err := c.get(ctx, "list the receivers", "/v1/receivers", nil, &l)
	return l.Receivers, err
}

// TestReceiver sends a receiver a notice that means nothing, and returns what
// became of it. It is not repeated by itself: each call sends one.
func (c *Client) TestReceiver(ctx context.Context, name string) (work.Delivery, error) {
	var d work.Delivery
	_, err := c.do(ctx, call{doing: "test receiver " + name, method: http.MethodPost, path: "/v1/receivers/" + url.PathEscape(name) + "/test"}, &d)
	return d, err
}
