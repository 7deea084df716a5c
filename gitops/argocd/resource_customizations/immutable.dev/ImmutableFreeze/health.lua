-- A freeze has no status: from when until when it applies is in its spec.
local message = obj.spec.reason or "No reason is given"
if obj.spec["until"] ~= nil then
  message = message .. " (until " .. obj.spec["until"] .. ")"
end
return { status = "Healthy", message = message }
