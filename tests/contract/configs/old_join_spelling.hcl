data_dir = "/opt/nomad"
server {
  enabled          = true
  bootstrap_expect = 3
  retry_join       = ["nomad.service.consul", "tasks.nomad_server", "[fd00::1]:4648"]
  retry_interval   = "15s"
  retry_max        = 0
}
