data_dir = "/opt/nomad"
server { enabled = true bootstrap_expect = 3 }
/* The rest was switched off for a test.
acl { enabled = true }
