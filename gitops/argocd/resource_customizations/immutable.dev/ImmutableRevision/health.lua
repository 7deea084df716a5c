local status = obj.status or {}
local message = status.message or status.replaced
if status.phase == "Good" then
  return { status = "Healthy", message = message or "Its rollout completed" }
end
if status.phase == "Failed" then
  return { status = "Degraded", message = message or "Its rollout failed" }
end
if status.phase == "Superseded" then
  return { status = "Healthy", message = "A newer revision was requested before its rollout completed" }
end
if status.phase == "Progressing" then
  return { status = "Progressing", message = message or "Its rollout is in progress" }
end
return { status = "Progressing", message = "Its rollout has not started" }
