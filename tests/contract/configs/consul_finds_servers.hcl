data_dir = "/opt/nomad"
server { enabled = true }
consul {
  address          = "127.0.0.1:8500"
  server_auto_join = true
}
vault { enabled = true address = "https://vault.example:8200" }
