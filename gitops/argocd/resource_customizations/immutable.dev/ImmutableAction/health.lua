local status = obj.status or {}
local health = {
  Pending = "Suspended", -- a freeze or suspend holds it back; the message says which
  Running = "Progressing",
  Succeeded = "Healthy",
  Failed = "Degraded",
}
return {
  status = health[status.phase] or "Progressing",
  message = status.message or "Waiting for the operator to process the action",
}
