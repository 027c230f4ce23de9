package web

// A route is an address and what answers there.
type route struct {
	method  string
	pattern string
	handle  handler
}

// brief reports whether the route asks the ledger and should not wait for it
// any longer than a client does.
func (rt route) brief() bool {
	switch rt.pattern {
	case "/healthz", "/readyz", "/metrics", "/version", "/openapi.yaml", "/openapi.json", "/problems", "/assets/{name}":
		return false
	case "/v1/doctor": // which is to say what is wrong with it
		return false
	case "/v1/events": // as long as the client listens
		return false
	case "/v1/jobs/{id}/retry", "/jobs/{id}/retry": // goes on whoever waits: there may be millions of objects
		return false
	}
	return true
}

// routes lists every address of the server. Those of the API are described in
// api/openapi.yaml; a test keeps the two lists equal.
func (s *site) routes() []route {
	return append(s.apiRoutes(), s.pageRoutes()...)
}

func (s *site) apiRoutes() []route {
	return []route{
		{"GET", "/v1/jobs", s.listJobs},
		{"POST", "/v1/jobs", s.createJob},
		{"GET", "/v1/jobs/{id}", s.getJob},
		{"POST", "/v1/jobs/{id}/pause", s.act(s.Commander.Pause, "paused")},
		{"POST", "/v1/jobs/{id}/resume", s.act(s.Commander.Resume, "resumed")},
		{"POST", "/v1/jobs/{id}/cancel", s.act(s.Commander.Cancel, "canceled")},
		{"POST", "/v1/jobs/{id}/retry", s.retryJob},
		{"GET", "/v1/jobs/{id}/failures", s.listFailures},
		{"GET", "/v1/jobs/{id}/objects", s.listObjects},
		{"GET", "/v1/jobs/{id}/attempts", s.listAttempts},
		{"GET", "/v1/jobs/{id}/tallies", s.getTallies},
		{"GET", "/v1/jobs/{id}/balance", s.getBalance},
		{"GET", "/v1/jobs/{id}/samples", s.listSamples},
		{"GET", "/v1/jobs/{id}/events", s.listEvents},
		{"GET", "/v1/agents", s.listAgents},
		{"GET", "/v1/events", s.followEvents},
		{"POST", "/v1/doctor", s.examine},
		{"GET", "/healthz", s.health},
		{"GET", "/readyz", s.ready},
		{"GET", "/metrics", s.metrics},
		{"GET", "/version", s.version},
		{"GET", "/openapi.yaml", s.specYAML},
		{"GET", "/openapi.json", s.specJSON},
	}
}

func (s *site) pageRoutes() []route {
	return []route{
		{"GET", "/{$}", s.overviewPage},
		{"GET", "/jobs", s.jobsPage},
		{"GET", "/jobs/{id}", s.jobPage},
		{"GET", "/jobs/{id}/failures", s.failuresPage},
		{"GET", "/jobs/{id}/objects", s.objectsPage},
		{"GET", "/jobs/{id}/attempts", s.attemptsPage},
		{"POST", "/jobs/{id}/pause", s.press(s.Commander.Pause, "paused")},
		{"POST", "/jobs/{id}/resume", s.press(s.Commander.Resume, "resumed")},
		{"POST", "/jobs/{id}/cancel", s.press(s.Commander.Cancel, "canceled")},
		{"POST", "/jobs/{id}/retry", s.pressRetry},
		{"GET", "/agents", s.agentsPage},
		{"GET", "/problems", s.problemsPage},
		{"GET", "/assets/{name}", s.asset},
	}
}
