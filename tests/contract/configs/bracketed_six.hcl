data_dir = "/var/lib/nomad"
bind_addr = "[::]"
addresses { http = "[::1]" }
advertise { http = "[fd00::5]:4646" rpc = "fd00::5" serf = "fd00::5" }
server { enabled = true bootstrap_expect = 3 }
